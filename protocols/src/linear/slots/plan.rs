//! How a network runs in slots: layouts, terms, levels, and the rotations that keys are needed for.
//!
//! All of it follows from shapes and parameters; weights are read by [`super::weights`].

use std::collections::{BTreeMap, BTreeSet, HashMap};

use blindvox_engine::ckks::{Row, Sparse, Term};
use blindvox_models::levels::{Level, Preset};
use blindvox_models::network::Shape;

use super::layout::Layout;
use super::lower::{LinearStep, Lowered, Step};
use super::matrix::Slabs;
use super::search::{self, Counts, Split};
use crate::error::{Error, Result};

/// How a network runs in slots. Tensor 0 is the input, tensor i + 1 what step i makes.
pub struct Plan {
    /// Of the input.
    pub input: Layout,
    /// In order.
    pub steps: Vec<PlannedStep>,
}

/// A step.
pub enum PlannedStep {
    /// A linear map.
    Linear(Box<PlannedLinear>),
    /// Sums of windows: an element's, of the rotations by each of these steps, doubling each time, then of planes.
    Sum {
        /// The tensor.
        source: usize,
        /// Rotations.
        rotations: Vec<usize>,
        /// Planes of a window.
        planes: usize,
        /// Primes of the source.
        level: usize,
        /// Of the sums.
        output: Layout,
    },
}

/// A linear map.
pub struct PlannedLinear {
    /// The layer's name.
    pub name: String,
    /// Its terms, for a plane of the output.
    pub sparse: Sparse,
    /// What the sources of the terms are.
    pub sources: Vec<Source>,
    /// By output plane and source the plane that is read, if there is one.
    pub reads: Vec<Vec<Option<usize>>>,
    /// Of the result.
    pub output: Layout,
    /// Whether the result is squared.
    pub square: bool,
    /// Where it stands.
    pub level: Level,
    /// What it takes.
    pub counts: Counts,
    /// By tensor the part of its slots that hold elements.
    filled: BTreeMap<usize, f64>,
    pub(super) split: Split,
    pub(super) fold: Option<usize>,
    /// By source, output ciphertext, baby and giant step the plaintext.
    pub(super) plains: HashMap<[u32; 4], u32>,
    /// Number of the first source of each of the step's sources and its classes.
    pub(super) first: Vec<Vec<u32>>,
}

/// A ciphertext of a plane of a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Source {
    /// The tensor.
    pub tensor: usize,
    /// In its column.
    pub ciphertext: usize,
}

impl PlannedStep {
    /// Where the tensor lies that it makes.
    pub fn output(&self) -> &Layout {
        match self {
            Self::Linear(step) => &step.output,
            Self::Sum { output, .. } => output,
        }
    }
}

/// Where the tensors of a network lie.
struct Ground {
    slots: usize,
    grid: [usize; 2],
    phase: usize,
}

impl Ground {
    fn new(lowered: &Lowered, slots: usize) -> Result<Self> {
        let first = lowered.steps.iter().find_map(|step| match step {
            Step::Linear(step) if step.sources.iter().any(|(tensor, _)| *tensor == 0) => Some(step),
            _ => None,
        });
        let first = first.ok_or_else(|| Error::Model("no layer reads the input".to_owned()))?;
        let phase = if first.shape.voxels() == 1 { 1 } else { first.pitch };
        let [_, h, w] = lowered.input.dims;
        let grid = [h, w].map(|size| size.div_ceil(phase).next_power_of_two());
        if grid[0] * grid[1] > slots || !phase.is_power_of_two() {
            return Err(Error::Model(format!(
                "an input of {h}x{w} with a stride of {phase} does not fit a ciphertext of {slots} slots"
            )));
        }
        Ok(Self { slots, grid, phase })
    }

    fn input(&self, shape: Shape) -> Result<Layout> {
        Layout::phases(shape, self.slots, self.grid, self.phase)
    }

    /// Layouts that a layer's output may have, and the period of its fold.
    fn candidates(&self, step: &LinearStep) -> Result<(Vec<Layout>, Option<usize>)> {
        let shape = step.shape;
        if shape.dims[1] * shape.dims[2] == 1 {
            let layout = Layout::new(shape, self.slots, [1, 1], 1, 1)?;
            let period = shape.channels.next_power_of_two();
            return Ok((vec![layout], (period < self.slots).then_some(period)));
        }
        if step.pitch < self.phase {
            let name = &step.name;
            return Err(Error::Model(format!("node {name:?}: a finer grid than the first layer's does not fit slots")));
        }
        let gap = step.pitch / self.phase;
        let muxes: BTreeSet<usize> = [gap, 1].into();
        let all = muxes.into_iter().rev().map(|mux| Layout::new(shape, self.slots, self.grid, gap, mux));
        let (fit, refused): (Vec<_>, Vec<_>) = all.partition(Result::is_ok);
        match (fit.is_empty(), refused.into_iter().next()) {
            (true, Some(refused)) => Err(refused.err().unwrap_or_else(|| Error::Model("no layout".to_owned()))),
            _ => Ok((fit.into_iter().flatten().collect(), None)),
        }
    }
}

impl Plan {
    /// Of a lowered network with a preset's levels.
    ///
    /// # Errors
    /// [`Error::Model`] for what does not fit the slots, and for scales of another number of layers.
    pub fn new(lowered: &Lowered, preset: &Preset) -> Result<Self> {
        let ground = Ground::new(lowered, preset.n / 2)?;
        let input = ground.input(lowered.input)?;
        let layers = lowered.steps.iter().filter(|step| matches!(step, Step::Linear(_))).count();
        let mut levels = preset.levels(layers)?.into_iter();
        let mut steps: Vec<PlannedStep> = Vec::new();
        let mut at: Vec<usize> = vec![preset.chain.len()];
        for step in &lowered.steps {
            let layout_of = |tensor: usize| tensor.checked_sub(1).map_or(&input, |i| steps[i].output());
            let planned = match step {
                Step::Linear(step) => {
                    let level = levels.next().ok_or_else(|| Error::Model("more layers than levels".to_owned()))?;
                    at.push(level.level - level.dropped);
                    PlannedStep::Linear(Box::new(linear(step, &ground, &layout_of, level)?))
                }
                Step::Sum { source, window, shape } => {
                    let from = layout_of(*source);
                    let output = from.every(window[1], shape.dims)?;
                    let along = |unit: usize| (0..window[1].ilog2()).map(move |i| unit << i);
                    let rotations = along(from.gap).chain(along(from.gap * from.grid[1])).collect();
                    at.push(at[*source]);
                    PlannedStep::Sum { source: *source, rotations, planes: window[0], level: at[*source], output }
                }
            };
            steps.push(planned);
        }
        Ok(Self { input, steps })
    }

    /// Where the scores lie.
    pub fn output(&self) -> &Layout {
        self.steps.last().map_or(&self.input, PlannedStep::output)
    }

    /// The linear maps.
    pub fn linear(&self) -> impl Iterator<Item = &PlannedLinear> {
        self.steps.iter().filter_map(|step| match step {
            PlannedStep::Linear(step) => Some(&**step),
            PlannedStep::Sum { .. } => None,
        })
    }

    /// What all layers take.
    pub fn counts(&self) -> Counts {
        self.linear().map(|step| step.counts).fold(Counts::default(), |sum, c| Counts {
            babies: sum.babies + c.babies,
            giants: sum.giants + c.giants,
            terms: sum.terms + c.terms,
            plaintexts: sum.plaintexts + c.plaintexts,
        })
    }

    /// By rotation the highest level that it is needed at; and that of products.
    pub fn rotations(&self) -> (BTreeMap<usize, usize>, usize) {
        let (mut rotations, mut products) = (BTreeMap::new(), 0);
        let mut need = |rotation: usize, level: usize| {
            let known = rotations.entry(rotation).or_insert(0);
            *known = level.max(*known);
        };
        for step in &self.steps {
            match step {
                PlannedStep::Linear(step) => {
                    step.sparse.rotations().steps().for_each(|r| need(r as usize, step.level.level));
                    if step.square {
                        products = products.max(step.level.level - step.level.dropped);
                    }
                }
                PlannedStep::Sum { rotations, level, .. } => rotations.iter().for_each(|&r| need(r, *level)),
            }
        }
        (rotations, products)
    }
}

fn linear<'a>(
    step: &LinearStep,
    ground: &Ground,
    layout_of: &impl Fn(usize) -> &'a Layout,
    level: Level,
) -> Result<PlannedLinear> {
    let sources: Vec<(&Layout, &Slabs)> = step.sources.iter().map(|(t, slabs)| (layout_of(*t), slabs)).collect();
    let (candidates, fold) = ground.candidates(step)?;
    let choose = |layout: Layout| {
        let (split, cost, counts) = search::best(&sources, &layout, fold);
        (layout, split, cost, counts)
    };
    let best = candidates.into_iter().map(choose).reduce(|a, b| if b.2 < a.2 { b } else { a });
    let (output, split, _, counts) = best.ok_or_else(|| Error::Model("no layout".to_owned()))?;
    let mut planned = PlannedLinear {
        name: step.name.clone(),
        sparse: Sparse { outputs: output.ciphertexts(), ..Sparse::default() },
        sources: Vec::new(),
        reads: vec![Vec::new(); output.columns()],
        output,
        square: step.square,
        level,
        counts,
        filled: BTreeMap::new(),
        split,
        fold,
        plains: HashMap::new(),
        first: Vec::new(),
    };
    planned.number_sources(step, &sources);
    planned.number_terms(&sources);
    Ok(planned)
}

impl PlannedLinear {
    /// Copies whose sum a result is.
    pub fn fold_count(&self) -> usize {
        1 << self.sparse.folds.len()
    }

    /// The part of a tensor's slots that hold elements.
    pub fn filled(&self, tensor: usize) -> f64 {
        self.filled.get(&tensor).copied().unwrap_or(1.0)
    }

    fn number_sources(&mut self, step: &LinearStep, layouts: &[(&Layout, &Slabs)]) {
        for ((tensor, slabs), (layout, _)) in step.sources.iter().zip(layouts) {
            let mut first = Vec::new();
            self.filled.insert(*tensor, layout.plane() as f64 / (layout.ciphertexts() * layout.slots) as f64);
            for class in 0..slabs.classes.len() {
                first.push(self.sources.len() as u32);
                let all = (0..layout.ciphertexts()).map(|ciphertext| Source { tensor: *tensor, ciphertext });
                self.sources.extend(all);
                for (zo, reads) in self.reads.iter_mut().enumerate() {
                    let used = slabs.uses.range((zo, 0)..(zo + 1, 0)).find(|(_, c)| **c == class);
                    let plane = used.map(|((_, zi), _)| *zi);
                    reads.extend(std::iter::repeat_n(plane, layout.ciphertexts()));
                }
            }
            self.first.push(first);
        }
        self.sparse.sources = self.sources.len();
    }

    fn number_terms(&mut self, sources: &[(&Layout, &Slabs)]) {
        let slots = self.output.slots;
        let all = search::offsets(sources, &self.output, self.fold);
        let mut rows: BTreeMap<(u32, u32), BTreeSet<[u32; 2]>> = BTreeMap::new();
        for (classes, first) in all.iter().zip(&self.first) {
            for (offsets, first) in classes.iter().zip(first) {
                for offset in offsets {
                    let (baby, giant) = self.split.of(offset, slots as u32);
                    let [source, out] = offset.ciphertexts;
                    rows.entry((out, giant)).or_default().insert([first + source, baby]);
                }
            }
        }
        for ((output, giant), terms) in rows {
            let mut row = Row { output: output as usize, giant: giant as usize, terms: Vec::new() };
            for [source, baby] in terms {
                let plain = self.plains.len();
                self.plains.insert([source, output, baby, giant], plain as u32);
                row.terms.push(Term { source: source as usize, baby: baby as usize, plain });
            }
            self.sparse.rows.push(row);
        }
        if let Some(period) = self.fold {
            let mut step = slots / 2;
            while step >= period {
                self.sparse.folds.push(step);
                step /= 2;
            }
        }
    }
}
