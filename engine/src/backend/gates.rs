//! Garbled gates over many instances.

use zeroize::Zeroizing;

use super::*;
use crate::aes::INSTANCES_PER_KEY;
use crate::garble::{GateHash, GateKeys, Row};

/// Bytes of a label.
const LABEL: usize = size_of::<u128>();

/// What a room is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoomSize {
    /// Wires that are alive at a time.
    pub slots: usize,
    /// AND gates.
    pub gates: usize,
    /// Instances of the circuit.
    pub instances: usize,
}

impl RoomSize {
    /// Chunks of [`INSTANCES_PER_KEY`] instances, which share a gate's two keys; at least one.
    pub fn chunks(self) -> usize {
        self.instances.div_ceil(INSTANCES_PER_KEY).max(1)
    }

    /// Instances, those that fill up the last chunk included.
    pub fn padded(self) -> usize {
        self.chunks() * INSTANCES_PER_KEY
    }

    /// Bytes of the labels and of the tables.
    pub fn bytes(self) -> [usize; 2] {
        let labels = self.padded() * LABEL;
        [self.slots.max(1) * labels, 2 * self.gates.max(1) * labels]
    }

    /// Rows in use of each unit of the tables, [`INSTANCES_PER_KEY`] rows of one chunk and gate.
    pub(crate) fn units(self) -> impl Iterator<Item = usize> {
        let instances = self.instances;
        (0..instances.div_ceil(INSTANCES_PER_KEY)).flat_map(move |chunk| {
            std::iter::repeat_n((instances - chunk * INSTANCES_PER_KEY).min(INSTANCES_PER_KEY), 2 * self.gates)
        })
    }
}

/// A result on its way from a device.
pub struct Pending<T>(Box<dyn FnOnce() -> Result<T> + Send>);

impl<T: 'static> Pending<T> {
    pub(crate) fn new(finish: impl FnOnce() -> Result<T> + Send + 'static) -> Self {
        Self(Box::new(finish))
    }

    /// Waits for it.
    pub fn finish(self) -> Result<T> {
        self.0()
    }
}

/// For every wire and chunk 256 bits, instance i's the bit i % 128 of word i / 128. Bits beyond the last instance have
/// no meaning.
pub type Colours = Zeroizing<Vec<[u128; 2]>>;

/// Garbled gates over many instances.
pub(crate) trait Gates {
    /// Room for a circuit over many instances, gates under `hash`; labels are zero.
    ///
    /// # Errors
    /// [`Error::TooLarge`] if it is larger than the device allows.
    fn room(&self, hash: GateHash, size: RoomSize) -> Result<Box<dyn Room>>;

    /// Whether the time that gates take does not depend on their labels.
    fn hashes_in_constant_time(&self, hash: GateHash) -> bool;
}

/// The kernels of gates, for all instances of a room at a time. Labels are `[slot, instance]`, the tables `[chunk,
/// gate, row, instance of the chunk]`, the generator's row first; both have 256 instances in every chunk. Gates may
/// only be enqueued, in order; what reads waits. Slots, gates, keys and lengths are checked by
/// [`GateRoom`](crate::GateRoom), the only caller.
pub(crate) trait Room: Send {
    /// The hash keys: the current ones of the sequence, `[chunk, gate]`.
    fn set_keys(&mut self, keys: &GateKeys) -> Result<()>;

    /// Labels from the first one of a slot on.
    fn write(&mut self, slot: usize, labels: &[u128]) -> Result<()>;

    /// The first labels of a slot.
    fn read(&mut self, slot: usize, labels: &mut [u128]) -> Result<()>;

    /// `out` = `of[0]` xor `of[1]`.
    fn xor(&mut self, of: [usize; 2], out: usize) -> Result<()>;

    /// Garbles an AND gate: slots, `flips` and `delta` as in [`AndInputs`](crate::garble::AndInputs) and
    /// [`GateKeys::garble_and`]. `out` may be one of the inputs.
    fn garble_and(&mut self, gate: usize, delta: u128, of: [usize; 5], flips: [bool; 2], out: usize) -> Result<()>;

    /// Evaluates an AND gate on active labels.
    fn evaluate_and(&mut self, gate: usize, of: [usize; 5], out: usize) -> Result<()>;

    /// The tables to evaluate.
    fn set_tables(&mut self, tables: &[Row]) -> Result<()>;

    /// The garbled tables.
    fn begin_tables(&mut self) -> Result<Pending<Vec<Row>>>;

    /// The colours of some wires.
    fn begin_colours(&mut self, slots: &[usize]) -> Result<Pending<Colours>>;

    /// Starts the gates so far. Whatever reads starts them too.
    fn start(&mut self) -> Result<()>;
}

/// The names of the kernels of [`Room`].
#[cfg(test)]
pub(crate) const NAMES: [&str; 4] = ["xor", "garble_and", "evaluate_and", "colours"];
