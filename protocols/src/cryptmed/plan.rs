//! From a program to the stages of a run and to what the dealer shares for it: public, and the same at all three ends.
//!
//! A linear layer whose output only an activation reads hands its sums over as they are: what truncates them is merged
//! into the comparison. Other outputs are truncated on their own.

use std::sync::Arc;

use blindvox_models::integers::pieces::Pieces;
use blindvox_models::{Linear, Program, Step, TensorId};

use super::adder::Published;
use super::decide::{self, MAX_CLASSES};
use super::items::Item;
use super::layer::Map;
use super::masks::MaskSpec;
use super::opening::Activation;
use super::pool::{self, Kept};
use crate::error::{Error, Result};

/// Fraction bits of scores that are revealed.
pub const SCORE_BITS: i32 = 4;
/// The most rows of one run.
pub const MAX_ROWS: usize = 1 << 16;
/// The most elements of one tensor of all rows.
const MAX_ELEMENTS: usize = 1 << 28;

/// What the client learns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reveal {
    /// The class of each element of the scores' grid.
    Labels,
    /// The scores at [`SCORE_BITS`] fraction bits. All rounding is exact then, so that repeated rows show none.
    Scores,
}

/// How activations are computed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Preset {
    /// By one opening.
    #[default]
    Dealer,
    /// As published: prefix adder, ring triples. All but activations is as in the other.
    Paper,
}

/// What all three ends agree on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// What the client learns.
    pub reveal: Reveal,
    /// How activations are computed.
    pub preset: Preset,
}

impl Terms {
    /// One opening, labels.
    pub const LABELS: Self = Self { reveal: Reveal::Labels, preset: Preset::Dealer };
    /// One opening, scores.
    pub const SCORES: Self = Self { reveal: Reveal::Scores, preset: Preset::Dealer };
}

/// An activation, its second truncation and where it goes.
#[derive(Clone, Debug)]
pub struct Function {
    /// On the opened value.
    pub activation: Activation,
    /// What takes off the coefficients' bits where that is exact.
    pub exact: Option<Activation>,
    /// Elements.
    pub elements: usize,
}

/// What becomes of a layer's sums.
#[derive(Clone, Debug)]
pub enum Then {
    /// An activation that takes bits off them.
    Function(Box<Function>, TensorId),
    /// They are truncated, then an activation as published.
    Published(u32, Published, usize, TensorId),
    /// They are truncated alone.
    Truncate(u32, usize, TensorId),
    /// They are the scores.
    Decide(Decision),
}

/// The end.
#[derive(Clone, Debug)]
pub enum Decision {
    /// A class of so many, for so many elements.
    Labels(usize, usize),
    /// Scores, truncated.
    Scores(Option<Box<Function>>),
}

/// A stage of a run.
#[derive(Clone, Debug)]
pub enum Stage {
    /// A linear layer.
    Layer {
        /// Its number among the layers.
        layer: usize,
        /// The program's step.
        step: usize,
        /// Its geometry.
        map: Box<Map>,
        /// What becomes of its sums.
        then: Box<Then>,
    },
    /// An activation of a tensor.
    Function {
        /// Read.
        input: TensorId,
        /// Written.
        output: TensorId,
        /// Which.
        function: Box<Function>,
    },
    /// Maxima or minima of windows.
    Pool {
        /// Read.
        input: TensorId,
        /// Written.
        output: TensorId,
        /// Along D, H, W.
        window: [usize; 3],
        /// Which.
        kept: Kept,
    },
    /// Sums of windows.
    Sum {
        /// Read.
        input: TensorId,
        /// Written.
        output: TensorId,
        /// Along D, H, W.
        window: [usize; 3],
    },
    /// The same elements.
    Flatten {
        /// Read.
        input: TensorId,
        /// Written.
        output: TensorId,
    },
    /// The end, of a tensor.
    Decide(TensorId, Decision),
}

/// A run of so many rows.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Weights are the server's alone.
    pub program: Arc<Program>,
    /// Rows side by side.
    pub rows: usize,
    /// In order.
    pub stages: Vec<Stage>,
}

impl Stage {
    /// The tensor that it writes; none at the end.
    pub fn output(&self) -> Option<TensorId> {
        match self {
            Self::Layer { then, .. } => match **then {
                Then::Function(_, output) | Then::Published(.., output) | Then::Truncate(.., output) => Some(output),
                Then::Decide(_) => None,
            },
            Self::Function { output, .. }
            | Self::Pool { output, .. }
            | Self::Sum { output, .. }
            | Self::Flatten { output, .. } => Some(*output),
            Self::Decide(..) => None,
        }
    }
}

impl Function {
    fn new(pieces: &Pieces, shift: u32, elements: usize, exact: bool) -> Self {
        let activation = Activation::new(pieces, shift, exact);
        let exact = (exact && activation.fine > 0).then(|| Activation::truncation(activation.fine));
        Self { activation, exact, elements }
    }

    fn items(&self, items: &mut Vec<Item>) {
        items.push(Item::Masks(Box::new(self.activation.spec.clone()), self.elements));
        match (&self.exact, self.activation.fine) {
            (Some(exact), _) => items.push(Item::Masks(Box::new(exact.spec.clone()), self.elements)),
            (None, 0) => {}
            (None, fine) => items.push(Item::Wraps(fine, self.elements)),
        }
    }
}

impl Decision {
    fn items(&self, items: &mut Vec<Item>) {
        match self {
            Self::Labels(classes, n) if *classes > 1 => {
                items.push(Item::Masks(Box::new(MaskSpec::sign()), decide::pairs(*classes).count() * n));
                if *classes > 2 {
                    items.push(Item::Masks(Box::new(MaskSpec::all(classes - 1)), classes * n));
                }
            }
            Self::Scores(Some(function)) => function.items(items),
            _ => {}
        }
    }
}

impl Plan {
    /// Plans a run.
    ///
    /// # Errors
    /// [`Error::Model`] for steps that runs with a dealer don't have, and for more than they can hold.
    pub fn new(program: &Arc<Program>, rows: usize, terms: Terms) -> Result<Self> {
        let mut planner = Planner { program, rows, terms, stages: Vec::new(), layers: 0 };
        let largest = program.tensors.iter().map(|t| t.elements()).max().unwrap_or(0);
        if !(1..=MAX_ROWS).contains(&rows) || largest.saturating_mul(rows) > MAX_ELEMENTS {
            return Err(Error::Model(format!(
                "{rows} rows of {largest} elements at once, at most {MAX_ROWS} rows and {MAX_ELEMENTS} elements are possible"
            )));
        }
        for at in 0..program.steps.len() {
            planner.step(at)?;
        }
        Ok(Self { program: program.clone(), rows, stages: planner.stages })
    }

    /// What the dealer shares, in order.
    pub fn items(&self) -> Vec<Item> {
        let mut items = Vec::new();
        for stage in &self.stages {
            match stage {
                Stage::Layer { layer, then, .. } => {
                    items.push(Item::Layer(*layer));
                    match &**then {
                        Then::Function(function, _) => function.items(&mut items),
                        Then::Published(shift, published, n, _) => {
                            if *shift > 0 {
                                items.push(Item::Wraps(*shift, *n));
                            }
                            published.items(*n, &mut items);
                        }
                        Then::Truncate(0, ..) => {}
                        Then::Truncate(shift, n, _) => items.push(Item::Wraps(*shift, *n)),
                        Then::Decide(decision) => decision.items(&mut items),
                    }
                }
                Stage::Function { function, .. } => function.items(&mut items),
                Stage::Pool { input, window, .. } => {
                    let size: usize = window.iter().product();
                    let windows = self.program.tensors[*input].elements() / size * self.rows;
                    for matches in pool::levels(size) {
                        items.push(Item::Masks(Box::new(rectifier().spec), matches * windows));
                    }
                }
                Stage::Decide(_, decision) => decision.items(&mut items),
                Stage::Sum { .. } | Stage::Flatten { .. } => {}
            }
        }
        items
    }

    /// The layers' maps, in order.
    pub fn maps(&self) -> impl Iterator<Item = (&Map, &Linear)> {
        self.stages.iter().filter_map(|stage| match stage {
            Stage::Layer { step, map, .. } => match &self.program.steps[*step] {
                Step::Linear(linear) => Some((&**map, linear)),
                _ => None,
            },
            _ => None,
        })
    }
}

/// max(x, 0) of values from which nothing is taken off.
pub fn rectifier() -> Activation {
    Activation::new(&Pieces::relu(), 0, false)
}

struct Planner<'a> {
    program: &'a Arc<Program>,
    rows: usize,
    terms: Terms,
    stages: Vec<Stage>,
    layers: usize,
}

impl Planner<'_> {
    fn exact(&self) -> bool {
        self.terms == Terms::SCORES
    }

    fn elements(&self, tensor: TensorId) -> usize {
        self.program.tensors[tensor].elements() * self.rows
    }

    /// The only reader of a tensor.
    fn reader(&self, tensor: TensorId) -> Option<&Step> {
        let mut readers = self.program.steps.iter().filter(|s| s.inputs().contains(&tensor));
        readers.next().filter(|_| readers.next().is_none())
    }

    /// Whether a step was done together with the layer before it.
    fn merged(&self, input: TensorId) -> bool {
        self.stages.iter().any(|stage| match stage {
            Stage::Layer { step, then, .. } => {
                let apart = matches!(**then, Then::Function(_, to) if to != input)
                    || matches!(**then, Then::Decide(_) | Then::Published(..));
                self.program.steps[*step].output() == Some(input) && apart
            }
            _ => false,
        })
    }

    fn step(&mut self, at: usize) -> Result<()> {
        let program = self.program;
        let stage = match &program.steps[at] {
            Step::Linear(linear) => {
                let then = Box::new(self.then(linear)?);
                let map = Box::new(Map::new(program, linear, self.rows)?);
                let layer = self.layers;
                self.layers += 1;
                Stage::Layer { layer, step: at, map, then }
            }
            step if matches!(
                step,
                Step::Relu { .. } | Step::Activation { .. } | Step::Argmax { .. } | Step::Square { .. }
            ) && self.merged(step.inputs()[0]) =>
            {
                return Ok(());
            }
            Step::Relu { input, output, .. } => self.function(&Pieces::relu(), *input, *output),
            Step::Square { input, output, shift, .. } => self.function(&Pieces::square(*shift), *input, *output),
            Step::Activation { input, output, pieces, .. } => self.function(pieces, *input, *output),
            Step::MaxPool { input, output, window, .. } => {
                Stage::Pool { input: *input, output: *output, window: *window, kept: Kept::Max }
            }
            Step::MinPool { input, output, window, .. } => {
                Stage::Pool { input: *input, output: *output, window: *window, kept: Kept::Min }
            }
            Step::AvgPool { input, output, window, .. } => {
                Stage::Sum { input: *input, output: *output, window: *window }
            }
            Step::Flatten { input, output, .. } => Stage::Flatten { input: *input, output: *output },
            Step::Argmax { input, .. } => {
                let decision = self.decision(*input, program.tensors[*input].scale_bits)?;
                Stage::Decide(*input, decision)
            }
            step => {
                let (name, kind) = (step.name(), step.kind());
                return Err(Error::Model(format!("layer {name:?}: found {kind}, which has no dealer's form")));
            }
        };
        self.stages.push(stage);
        Ok(())
    }

    fn function(&self, pieces: &Pieces, input: TensorId, output: TensorId) -> Stage {
        let function = Box::new(Function::new(pieces, 0, self.elements(input), self.exact()));
        Stage::Function { input, output, function }
    }

    fn then(&self, linear: &Linear) -> Result<Then> {
        let (output, shift) = (linear.output, linear.shift);
        let n = self.elements(output);
        let function = |pieces: &Pieces, to: TensorId| {
            Ok(match self.terms.preset {
                Preset::Dealer => Then::Function(Box::new(Function::new(pieces, shift, n, self.exact())), to),
                Preset::Paper => Then::Published(shift, Published::new(pieces), n, to),
            })
        };
        match self.reader(output) {
            Some(Step::Relu { output, .. }) => function(&Pieces::relu(), *output),
            Some(Step::Square { shift: more, output, .. }) if shift <= 16 => function(&Pieces::square(*more), *output),
            Some(Step::Activation { pieces, output, .. })
                if shift <= 16 || pieces.pieces.iter().all(|p| p.degree() < 2) =>
            {
                function(pieces, *output)
            }
            Some(Step::Argmax { .. }) => {
                let scale = self.program.tensors[output].scale_bits + shift as i32;
                Ok(Then::Decide(self.decision(output, scale)?))
            }
            _ if self.exact() && shift > 0 => {
                let activation = Activation::truncation(shift);
                Ok(Then::Function(Box::new(Function { activation, exact: None, elements: n }), output))
            }
            _ => Ok(Then::Truncate(shift, n, output)),
        }
    }

    /// The end, of values at this scale.
    fn decision(&self, tensor: TensorId, scale: i32) -> Result<Decision> {
        let info = &self.program.tensors[tensor];
        let n = info.voxels() * self.rows;
        if self.terms.reveal == Reveal::Scores {
            let shift = u32::try_from(scale - SCORE_BITS).unwrap_or(0).min(28);
            let truncated = (shift > 0).then(|| {
                Box::new(Function {
                    activation: Activation::truncation(shift),
                    exact: None,
                    elements: self.elements(tensor),
                })
            });
            return Ok(Decision::Scores(truncated));
        }
        if info.channels > MAX_CLASSES {
            let found = info.channels;
            return Err(Error::Model(format!("{found} classes, at most {MAX_CLASSES} are compared with a dealer")));
        }
        Ok(Decision::Labels(info.channels, n))
    }
}
