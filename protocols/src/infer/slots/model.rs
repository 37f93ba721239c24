//! A service's model: its plan, its plaintexts, and the evaluation of a client's input.

use blindvox_engine::DeviceKind;
use blindvox_engine::ckks::{Ciphertext, Encoder, Evaluator, Mirrored, Params, Plaintext, PreparedSparse, Target};
use blindvox_models::Network;
use blindvox_models::levels::Ckks;
use rayon::prelude::*;

use super::places::Places;
use super::public::{Public, Ring};
use crate::error::{Error, Result};
use crate::linear::slots::{LinearStep, Plan, PlannedLinear, PlannedStep, Step, lower};

/// Bytes of rotated sources that are held at once, about.
const MEMORY: usize = 1 << 30;
/// Bits that sums of windows take.
const SUM_BITS: f64 = 6.0;

/// What a service holds.
pub struct Model {
    public: Public,
    params: Params,
    plan: Plan,
    layers: Vec<Layer>,
}

/// A linear layer with its numbers.
struct Layer {
    map: PreparedSparse,
    /// By column and ciphertext.
    bias: Vec<Plaintext>,
}

/// What a service is made of: a network, its names, and how it runs.
pub struct Source<'a> {
    /// The model's name.
    pub name: &'a str,
    /// Its classes.
    pub classes: &'a [String],
    /// The network.
    pub network: &'a Network,
    /// Its section of the bundle.
    pub ckks: &'a Ckks,
    /// Lowest and highest prepared value.
    pub clamp: Option<[f32; 2]>,
}

impl Model {
    /// Plans a network for a preset and encodes its weights.
    ///
    /// # Errors
    /// [`Error::Model`] for a network that slots can't compute or a preset that there is not; the engine's.
    pub fn new(source: &Source<'_>, preset_name: &str) -> Result<Self> {
        let preset = source.ckks.preset(source.name, preset_name)?;
        let lowered = lower(source.network)?;
        let plan = Plan::new(&lowered, preset)?;
        let (rotations, products) = plan.rotations();
        let output = plan.output().clone();
        let public = Public {
            name: source.name.to_owned(),
            classes: source.classes.to_vec(),
            preset: preset_name.to_owned(),
            ring: Ring::of(preset),
            input: plan.input.clone(),
            repeats: plan.linear().last().is_some_and(|step| !step.sparse.folds.is_empty()),
            output,
            rotations: rotations.into_iter().map(|(step, level)| (step as u32, level as u32)).collect(),
            products: products as u32,
            logit_bound: source.ckks.logit_bound,
            clamp: source.clamp,
        };
        let params = public.params()?;
        let places = Places::new(&plan, preset);
        let lowest = places.lowest(&plan);
        let all = lowered.steps.iter().zip(&plan.steps).zip(&lowest[1..]);
        let pairs = all.filter_map(|(pair, &lowest)| match pair {
            (Step::Linear(step), PlannedStep::Linear(planned)) => Some((step, &**planned, lowest)),
            _ => None,
        });
        let prepare = |(step, planned, lowest): (&LinearStep, &PlannedLinear, usize)| {
            let bound = bound(&params, planned, lowest, public.logit_bound)?;
            prepared((&params, &places), &plan, (step, planned), bound)
        };
        let layers = pairs.map(prepare).collect::<Result<Vec<_>>>()?;
        super::error_model::check(&lowered, &plan, source.ckks, preset, &params)?;
        Ok(Self { public, params, plan, layers })
    }

    /// What clients are told.
    pub fn public(&self) -> &Public {
        &self.public
    }

    /// The scheme's parameters.
    pub fn params(&self) -> &Params {
        &self.params
    }

    /// How it runs.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Bytes of its plaintexts.
    pub fn memory(&self) -> usize {
        self.layers.iter().map(|layer| layer.map.memory()).sum()
    }

    /// The scores of inputs, `images` of them one after the other, each in the order of columns and ciphertexts.
    ///
    /// # Errors
    /// [`Error::Protocol`] for another number of ciphertexts; the engine's, for keys that are missing.
    pub fn evaluate(
        &self,
        evaluator: &Evaluator,
        input: Vec<Ciphertext>,
        images: usize,
        mut done: impl FnMut(&str),
    ) -> Result<Vec<Ciphertext>> {
        if input.len() != images * self.public.inputs() || images == 0 {
            let (found, each) = (input.len(), self.public.inputs());
            return Err(Error::protocol(format!("{found} ciphertexts for {images} inputs of {each}")));
        }
        let mut last_use = vec![0; self.plan.steps.len() + 1];
        for (at, step) in self.plan.steps.iter().enumerate() {
            match step {
                PlannedStep::Linear(step) => step.sources.iter().for_each(|s| last_use[s.tensor] = at),
                PlannedStep::Sum { source, .. } => last_use[*source] = at,
            }
        }
        let mut tensors: Vec<Vec<Ciphertext>> = vec![input];
        let mut layers = self.layers.iter();
        for (at, step) in self.plan.steps.iter().enumerate() {
            let made = match step {
                PlannedStep::Linear(step) => {
                    let layer = layers.next().ok_or_else(|| Error::Model("a layer without weights".to_owned()))?;
                    let made = self.linear(evaluator, (step, layer), &tensors, images)?;
                    done(&step.name);
                    made
                }
                PlannedStep::Sum { source, rotations, planes, .. } => {
                    let each = self.layout_of(*source).ciphertexts();
                    sums(evaluator, &tensors[*source], (each, *planes), rotations)?
                }
            };
            tensors.push(made);
            for tensor in (0..=at).filter(|&tensor| last_use[tensor] == at) {
                tensors[tensor] = Vec::new();
            }
        }
        Ok(tensors.pop().unwrap_or_default())
    }

    fn layout_of(&self, tensor: usize) -> &crate::linear::slots::Layout {
        tensor.checked_sub(1).map_or(&self.plan.input, |i| self.plan.steps[i].output())
    }

    fn linear(
        &self,
        evaluator: &Evaluator,
        (step, layer): (&PlannedLinear, &Layer),
        tensors: &[Vec<Ciphertext>],
        images: usize,
    ) -> Result<Vec<Ciphertext>> {
        let level = step.level.level;
        // All at the layer's level.
        let used: std::collections::BTreeSet<usize> = step.sources.iter().map(|s| s.tensor).collect();
        let mut lowered: Vec<Vec<Ciphertext>> = Vec::new();
        for (tensor, all) in tensors.iter().enumerate() {
            let here = used.contains(&tensor) && all.first().is_some_and(|x| x.level() != level);
            let all = if here {
                all.iter().map(|x| evaluator.drop_to(x, level)).collect::<blindvox_engine::Result<_>>()?
            } else {
                Vec::new()
            };
            lowered.push(all);
        }
        let at = |tensor: usize| if lowered[tensor].is_empty() { &tensors[tensor] } else { &lowered[tensor] };
        let job = |image: usize, reads: &Vec<Option<usize>>| -> Vec<Option<&Ciphertext>> {
            let sources = step.sources.iter().zip(reads);
            sources
                .map(|(source, plane)| {
                    let layout = self.layout_of(source.tensor);
                    let each = layout.ciphertexts();
                    plane.map(|z| &at(source.tensor)[(image * layout.columns() + z) * each + source.ciphertext])
                })
                .collect()
        };
        let jobs: Vec<_> = (0..images)
            .flat_map(|image| step.reads.iter().map(move |reads| (image, reads)))
            .map(|(i, r)| job(i, r))
            .collect();
        let per_job = 2 * (level + self.params.special().map_or(0, |s| s.len())) * self.params.n() * 8;
        let babies = step.counts.babies.max(1) / step.output.columns().max(1) + step.sources.len();
        let together = (MEMORY / (per_job * babies.max(1))).clamp(1, 16);
        let mut made = Vec::new();
        for (chunk, jobs) in jobs.chunks(together).enumerate() {
            let outputs = evaluator.sparse(&layer.map, jobs)?;
            let planes = (chunk * together..).map(|job| job % step.output.columns() * step.sparse.outputs);
            let outputs = planes.zip(outputs).flat_map(|(first, outputs)| (first..).zip(outputs));
            made.extend(each(evaluator, outputs.collect(), |(at, output)| {
                let (bound, error) = (output.bound(), output.error());
                let sum = evaluator.add_plain(&output, &layer.bias[at])?.restated(bound, error)?;
                Ok(if step.square { evaluator.square(&sum)? } else { sum })
            })?);
        }
        Ok(made)
    }
}

/// `f` of each, side by side on a CPU.
fn each<T: Send, R: Send>(
    evaluator: &Evaluator,
    items: Vec<T>,
    f: impl Fn(T) -> Result<R> + Send + Sync,
) -> Result<Vec<R>> {
    match evaluator.device().kind() {
        DeviceKind::Cpu => items.into_par_iter().map(f).collect(),
        _ => items.into_iter().map(f).collect(),
    }
}

/// What no value of a layer's output is taken to exceed: as much as the lowest level that it is read at holds, after a
/// square and a sum. Nothing of the weights is in it.
fn bound(params: &Params, step: &PlannedLinear, lowest: usize, logit_bound: f64) -> Result<f64> {
    if !step.square {
        return Ok(logit_bound);
    }
    let bits = (params.basis().level(lowest)?.log2_q() - 1.0 - SUM_BITS) / 2.0;
    Ok(bits.floor().exp2() / step.level.target)
}

fn prepared(
    (params, places): (&Params, &Places),
    plan: &Plan,
    (step, planned): (&LinearStep, &PlannedLinear),
    bound: f64,
) -> Result<Layer> {
    let plains = planned.plaintexts(plan, step);
    let mut tensor = vec![0; plains.len()];
    for t in planned.sparse.rows.iter().flat_map(|row| &row.terms) {
        tensor[t.plain] = planned.sources[t.source].tensor;
    }
    let largest = plains.iter().flatten().fold(f64::MIN_POSITIVE, |most: f64, w| most.max(w.abs()));
    let encoder = Encoder::new(params).with_bound(largest * 1.000_001);
    let encode = |(values, &tensor): (&Vec<f64>, &usize)| {
        Mirrored::encode(&encoder, values, places.omega(params, planned, tensor))
    };
    let encoded = plains.par_iter().zip(&tensor).map(encode).collect::<blindvox_engine::Result<Vec<_>>>();
    let encoded = encoded.map_err(|e| Error::Model(format!("node {:?}: {e}", planned.name)))?;
    let to = Target { scale: planned.level.target, dropped: planned.level.dropped, bound, error: 0.0 };
    let map = PreparedSparse::new(params, planned.sparse.clone(), encoded, planned.level.level, to)?;
    let bias = planned.bias(step);
    let largest = bias.iter().flatten().fold(f64::MIN_POSITIVE, |most: f64, b| most.max(b.abs()));
    let encoder = Encoder::new(params).with_bound(largest * 1.000_001);
    let bias = bias.iter().map(|bias| encoder.real(bias, planned.level.target));
    Ok(Layer { map, bias: bias.collect::<blindvox_engine::Result<_>>()? })
}

/// Sums of windows: of planes first, then by rotations.
fn sums(
    evaluator: &Evaluator,
    x: &[Ciphertext],
    (count, planes): (usize, usize),
    rotations: &[usize],
) -> Result<Vec<Ciphertext>> {
    let windows = x.chunks_exact(planes * count).flat_map(|window| (0..count).map(move |at| (window, at)));
    each(evaluator, windows.collect(), |(window, at)| {
        let mut sum = window[at].duplicate()?;
        for z in 1..planes {
            sum = evaluator.add(&sum, &window[z * count + at])?;
        }
        for &step in rotations {
            sum = evaluator.add(&sum, &evaluator.rotate(&sum, step as i64)?)?;
        }
        Ok(sum)
    })
}
