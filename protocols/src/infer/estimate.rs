//! What a run will send, from its plans alone: no volume, no weights, no peer.

use blindvox_engine::bfv::{Params, PublicKey};
use blindvox_models::{Program, Step, TensorId};

use super::demand;
use super::hello::HELLO_BYTES;
use super::presets::{Comparison, PairSupply, Source, Ways};
use super::report::StepCost;
use super::shares::needs::{Needs, needs};
use super::shares::online::Outcome;
use super::shares::preprocess::squares;
use super::shares::public;
use crate::compare::Transfers;
use crate::correlations::he::PairTraffic;
use crate::error::Result;
use crate::linear::Plan;
use crate::nonlinear::{Nonlinear, square};
use crate::share::{P, Ring};
use crate::traffic::Bytes;
use crate::{convert, gc, ot};

/// Bytes of a run by its phases, as the client's report counts them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Estimate {
    /// Greeting, architecture, keys, base transfers.
    pub setup: Bytes,
    /// The source of square pairs, or all of them.
    pub preprocessing: Bytes,
    /// Each step's.
    pub steps: Vec<StepBytes>,
}

/// One step's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepBytes {
    /// The layer.
    pub name: String,
    /// Its kind.
    pub kind: &'static str,
    /// Both directions.
    pub bytes: Bytes,
}

impl Estimate {
    /// Of all steps.
    pub fn online(&self) -> Bytes {
        self.steps.iter().map(|step| step.bytes).sum()
    }

    /// What the client counted, in the same form.
    pub fn counted(outcome: &Outcome) -> Self {
        let phase = |kind| {
            let costs = outcome.preparation.iter().filter(|cost| cost.kind == kind);
            costs.map(|cost| Bytes::from(cost.traffic)).sum()
        };
        let step = |cost: &StepCost| StepBytes { name: cost.name.clone(), kind: cost.kind, bytes: cost.traffic.into() };
        Self {
            setup: phase("setup"),
            preprocessing: phase("preprocessing"),
            steps: outcome.steps.iter().map(step).collect(),
        }
    }

    /// Of the whole run.
    pub fn total(&self) -> Bytes {
        self.setup + self.preprocessing + self.online()
    }
}

/// The bytes of a run of `program`, whose [`plans`](super::shares::session::plans) these are, at a block width of
/// transfers: [`ot::LINK_WIDTH`] between hosts, [`ot::LOCAL_WIDTH`] in one process. Exact with SoftSpoken. Silent OT is
/// counted with the set-up, to within an iteration of each direction; what garbles and is silent besides is estimated
/// as with SoftSpoken, which is no less.
///
/// # Errors
/// For a program that can't be encoded.
pub fn estimate(program: &Program, plans: &[Plan], ways: &Ways, width: usize) -> Result<Estimate> {
    let architecture = public::encode(program)?.len();
    let key = PublicKey::wire_len(&Params::hom_conv());
    let hellos = Bytes::each_way(HELLO_BYTES);
    let setup = hellos + Bytes { up: key as u64, down: architecture as u64 } + ot::setup_bytes(width);
    let count = squares(program);
    let source = if count > 0 { PairTraffic::setup() } else { Bytes::default() };
    let (ahead, pairs) = match ways.pairs() {
        PairSupply::Ahead => (PairTraffic::default().request(count), None),
        PairSupply::AsUsed => (Bytes::default(), Some(PairTraffic::default())),
    };
    let is_silent =
        ways.ot == Source::Silent && !ways.garbles() && demand::sets(program, ways).iter().any(Option::is_some);
    let nonlinear = match ways.compare {
        Comparison::Transfers => Nonlinear::Compared(Box::new(Transfers { silent: is_silent })),
        kind => Nonlinear::new(kind),
    };
    let garbler = if ways.garbles() { gc::traffic::setup_bytes(width) } else { Bytes::default() };
    let (silent, width) =
        if is_silent { (silent_bytes(program, ways, width), CORRECTED) } else { (Bytes::default(), width) };
    let mut steps = Steps { program, needs: needs(program, nonlinear.reads_low_bits()), nonlinear, width, pairs };
    let none = |step: &Step| StepBytes { name: step.name().to_owned(), kind: step.kind(), bytes: Bytes::default() };
    let mut each: Vec<_> = program.steps.iter().map(none).collect();
    let last = each.len() - 1;
    for _ in 0..program.passes() {
        let mut plans = plans.iter();
        let mut first = steps.provided(program.input, 32);
        for (step, sum) in program.steps[..last].iter().zip(&mut each) {
            let linear = if let Step::Linear(_) = step { plans.next() } else { None };
            sum.bytes = sum.bytes + steps.step(step, linear) + std::mem::take(&mut first);
        }
    }
    each[last].bytes = steps.step(&program.steps[last], None);
    Ok(Estimate { setup: setup + garbler + silent, preprocessing: source + ahead, steps: each })
}

/// A silent transfer is corrected by a bit: what a block width of 128 would take.
const CORRECTED: usize = 128;

/// The start of silent OT and all its iterations: to within one of each direction, and a direction that SoftSpoken
/// serves all the same is counted as if it were silent.
fn silent_bytes(program: &Program, ways: &Ways, width: usize) -> Bytes {
    let counts = demand::transfers(program, ways);
    let [server, client] = [0, 1].map(|at| match demand::sets(program, ways)[at] {
        Some(set) => {
            let iterations = counts[at].div_ceil(set.usable());
            let [asked, sent] = set.bytes(width == ot::LINK_WIDTH);
            let start = ot::extension_bytes(set.base().div_ceil(128), width);
            ((start + iterations * asked) as u64, (iterations * sent) as u64)
        }
        None => (ot::extension_bytes(counts[at].div_ceil(128), width) as u64, 0),
    });
    Bytes { up: server.0 + client.1, down: server.1 + client.0 }
}

struct Steps<'a> {
    program: &'a Program,
    needs: Vec<Needs>,
    nonlinear: Nonlinear,
    width: usize,
    /// None where they were made ahead.
    pairs: Option<PairTraffic>,
}

impl Steps<'_> {
    fn step(&mut self, step: &Step, plan: Option<&Plan>) -> Bytes {
        let elements = |tensor: TensorId| self.program.tensors[tensor].elements();
        match step {
            Step::Linear(linear) => {
                let cost = plan.map(Plan::cost).unwrap_or_default();
                let sums = Bytes { up: cost.bytes_up as u64, down: cost.bytes_down as u64 };
                sums + self.provided(linear.output, 32 - linear.shift)
            }
            Step::Square { input, output, shift, .. } => {
                let n = elements(*input);
                let supply = self.pairs.as_mut();
                let pairs = supply.map_or(Bytes::default(), |pairs| square::chunks(n).map(|n| pairs.request(n)).sum());
                square::bytes(n, *shift, self.width) + pairs + self.provided(*output, 32)
            }
            Step::Relu { input, output, bits, .. } => {
                let relu = self.nonlinear.relu_bytes(elements(*input), Ring::Pow2(*bits), self.width);
                relu + self.provided(*output, 32)
            }
            Step::MaxPool { input, output, window, bits, .. } => {
                let size = window.iter().product();
                let shape = [elements(*input) / size, size];
                self.nonlinear.max_pool_bytes(shape, Ring::Pow2(*bits), self.width) + self.provided(*output, 32)
            }
            Step::AvgPool { output, .. }
            | Step::Flatten { output, .. }
            | Step::Interleave { output, .. }
            | Step::Resize { output, .. }
            | Step::Activation { output, .. }
            | Step::MinPool { output, .. } => self.provided(*output, 32),
            Step::Argmax { input, bits, .. } => {
                let classes = self.program.classes;
                self.nonlinear.argmax_bytes([elements(*input) / classes, classes], Ring::Pow2(*bits), self.width)
            }
            Step::Blend { bits, windows, .. } => {
                let slab = |at: usize| {
                    let shape = [windows.voxels(windows.done(at).len()), self.program.classes];
                    self.nonlinear.argmax_bytes(shape, Ring::Pow2(*bits), self.width)
                };
                (0..windows.starts[0].len()).map(slab).sum()
            }
        }
    }

    /// What brings a tensor's shares mod 2^`bits` to the rings that its readers need.
    fn provided(&self, tensor: TensorId, bits: u32) -> Bytes {
        let (n, needs) = (self.program.tensors[tensor].elements(), self.needs[tensor]);
        let to = |needed: bool, ring: Ring| {
            if needed { convert::bytes(n, bits, ring, self.width) } else { Bytes::default() }
        };
        to(needs.prime, Ring::Prime(P)) + to(needs.full, Ring::FULL)
    }
}
