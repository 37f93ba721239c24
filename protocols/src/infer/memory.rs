//! What a run takes of each side's memory at its peak, from public sizes alone: what a service admits runs by.

use blindvox_models::{Program, Step, TensorId};
use blindvox_net::transport::queue::CAPACITY;

use super::demand;
use super::presets::{Comparison, Source, Ways};
use super::shares::needs::needs;
use crate::linear::Plan;
use crate::ot::LINK_WIDTH;

/// Keys, tables, trees, threads' rooms: what a run takes however small it is.
const BASE: u64 = 24 << 20;
/// A queue of messages a direction is rarely full: whoever is ahead waits.
const QUEUES: u64 = CAPACITY as u64;
/// Bytes an element of the step that is worked on takes beside its shares: labels, hashes, packed messages, until they are
/// sent.
const ROOM: u64 = 8;
/// The same where a layer is compared by transfers, level by level: labels, digits and tables of all its elements.
const LEVELS: u64 = 250;
/// Bytes that silent transfers hold for each output of an iteration: the outputs, the trees' leaves and the next base.
const SILENT: u64 = 32;

/// Elements that a step compares at once.
fn compared(program: &Program, step: &Step) -> u64 {
    let elements = |tensor: TensorId| program.tensors[tensor].elements() as u64;
    match step {
        Step::Relu { input, .. } => elements(*input),
        Step::MaxPool { input, .. } => elements(*input) / 2,
        Step::Argmax { input, .. } => elements(*input) / 2,
        _ => 0,
    }
}

/// Bytes of the client's and of the server's peak, without the model itself, which all runs share.
pub fn memory(program: &Program, plans: &[Plan], ways: &Ways) -> [u64; 2] {
    let needs = needs(program, ways.compare == Comparison::Transfers);
    let shares = |tensor: usize| {
        let rings = u64::from(needs[tensor].full || needs[tensor].low) + u64::from(needs[tensor].prime);
        4 * rings.max(1) * program.tensors[tensor].elements() as u64
    };
    let last_uses = program.last_uses();
    let mut live = vec![false; program.tensors.len()];
    live[program.input] = true;
    // In windows: the volume's shares, and sums of scores until a slab of them is done and compared.
    let (scans, slab) = program.windows().map_or((0, 0), |windows| {
        let held = program.classes * windows.voxels(windows.size()[0]);
        (4 * (program.channels() * windows.grid.iter().product::<usize>() + held) as u64, held as u64)
    });
    let mut peak = if ways.compare == Comparison::Transfers { (ROOM + LEVELS / 2) * slab } else { ROOM * slab };
    for (at, step) in program.steps.iter().enumerate() {
        step.output().into_iter().for_each(|t| live[t] = true);
        let kept: u64 = live.iter().enumerate().filter(|(_, live)| **live).map(|(t, _)| shares(t)).sum();
        let worked = step.inputs().iter().copied().chain(step.output()).map(|t| program.tensors[t].elements() as u64);
        let levels = if ways.compare == Comparison::Transfers { LEVELS * compared(program, step) } else { 0 };
        peak = peak.max(kept + ROOM * worked.max().unwrap_or_default() + levels);
        for &tensor in step.inputs() {
            if last_uses[tensor] == at {
                live[tensor] = false;
            }
        }
    }
    // The server's weights of a layer in the transform domain: two primes' points of each polynomial.
    let weights = plans.iter().map(|plan| {
        let encoding = plan.encoding();
        2 * size_of::<u64>() * encoding.n() * encoding.out_groups() * encoding.in_groups()
    });
    let sent = super::estimate(program, plans, ways, LINK_WIDTH).map_or(QUEUES, |e| e.total().total());
    let silent: u64 = match ways.ot {
        Source::Silent => {
            demand::sets(program, ways).into_iter().flatten().map(|set| SILENT * set.usable() as u64).sum()
        }
        Source::SoftSpoken => 0,
    };
    let common = BASE + scans + peak + QUEUES.min(sent) + silent;
    [common, common + weights.max().unwrap_or_default() as u64]
}
