//! What each end of a run with a dealer holds at its peak, from the plan alone: what hosts admit runs by.

use super::items::Item;
use super::plan::Plan;
use super::source::correction_bytes;

/// Queues of messages, threads' rooms: what a run takes however small it is.
const BASE: u64 = 16 << 20;
/// Bytes an element of an opening takes beside its masks: the opened word, planes of its digits and of its tree.
const ROOM: u64 = 96;

/// Bytes of the client's, the server's and the dealer's peak in runs of the plan's rows.
pub fn memory(plan: &Plan) -> [u64; 3] {
    let items = plan.items();
    let held = |item: &Item| held(item, plan);
    let materials: u64 = items.iter().map(held).sum();
    let worked = items.iter().map(|item| ROOM * elements(item)).max().unwrap_or_default();
    let tensors: u64 = plan.program.tensors.iter().map(|t| 4 * (t.elements() * plan.rows) as u64).sum();
    let weights: u64 = plan.maps().map(|(map, _)| 4 * map.weights() as u64).sum();
    let party = BASE + materials + worked + tensors + 2 * weights;
    // Both parties' parts of an item at a time, and the message.
    let item = items.iter().map(|item| 2 * held(item) + 2 * correction_bytes(item, plan) as u64);
    let sums = plan.maps().map(|(map, _)| 4 * map.outputs() as u64).max().unwrap_or_default();
    [party, party, BASE + weights + item.max().unwrap_or_default() + sums]
}

fn elements(item: &Item) -> u64 {
    match item {
        Item::Masks(spec, n) => (*n * spec.trees.len().max(1)) as u64,
        Item::Wraps(_, n) | Item::RingTriples(n) => *n as u64,
        Item::Layer(_) => 0,
    }
}

fn held(item: &Item, plan: &Plan) -> u64 {
    match item {
        Item::Masks(spec, n) => spec.held(*n),
        Item::Wraps(_, n) => 5 * *n as u64,
        Item::RingTriples(n) => 12 * *n as u64,
        Item::Layer(layer) => {
            let (map, _) = plan.maps().nth(*layer).expect("an item of the plan");
            4 * (map.inputs() + map.outputs()) as u64
        }
    }
}
