//! Bytes of garbled circuits.

use blindvox_net::channel::Party;

use super::stream::{AHEAD, LABEL_WORDS};
use super::{Circuit, INSTANCES};
use crate::ot::{extension_bytes, setup_from_bytes};
use crate::traffic::{Bytes, batches};

/// Of [`Half::setup_from`](super::Half::setup_from), at a block width of transfers.
pub fn setup_bytes(width: usize) -> Bytes {
    setup_from_bytes(Party::Client, width)
}

/// Messages of labels of as many instances with so many bits of the evaluator's, and how many of them leave before the
/// first tables are waited for.
pub fn label_messages(instances: usize, bits: usize) -> [usize; 2] {
    let words = bits * instances.div_ceil(INSTANCES) * INSTANCES / 128;
    [words.div_ceil(LABEL_WORDS), AHEAD + 1]
}

/// Of as many instances of a circuit: choices of the evaluator's labels, for whole chunks of [`INSTANCES`], and tables.
pub fn bytes(circuit: &Circuit, instances: usize, width: usize) -> Bytes {
    let words = instances.div_ceil(INSTANCES) * INSTANCES / 128;
    let messages = batches(circuit.evaluator_inputs() * words, LABEL_WORDS);
    let choices = messages.map(|words| extension_bytes(words, width)).sum();
    Bytes::sent_by(Party::Client, choices, 32 * circuit.ands() * instances)
}

/// Of colours that show `bits` of each instance to the evaluator.
pub fn reveal_bytes(bits: usize, instances: usize) -> Bytes {
    Bytes::sent_by(Party::Server, bits * INSTANCES / 8 * instances.div_ceil(INSTANCES), 0)
}
