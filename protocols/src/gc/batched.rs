//! Garbling and evaluating in the rooms of a device: the gates of a circuit over a batch of chunks of instances at a
//! time.
//!
//! Streams, their order and their bytes are those of [`super::garble`]: chunk after chunk. A batch takes the labels of
//! its chunks off the streams, uploads them at once, and lets the device run all gates; meanwhile the tables of the
//! batch before are downloaded and sent, or the tables of the next one received. Two batches are alive at a time, so
//! memory does not depend on the number of instances.
//!
//! **Size of a batch.** The evaluator has begun [`WINDOW`] transfers more than it has used. The garbler holds back the
//! tables of one batch and of a message while it waits for the labels of the next, so two batches and as many chunks as
//! a message spans must fit that window. That is some 15,000 instances a gate at 16 input bits. More would not help: a
//! table's 32 bytes cross the bus in about the time that a core takes to garble it, and the bus, not the device, is
//! then the bound.
//!
//! Circuits of which no chunk fits (thousands of gates, hundreds of inputs) are left to the CPU.

use std::ops::Range;

use blindvox_engine::aes::INSTANCES_PER_KEY;
use blindvox_engine::garble::{GateHash, Row, add_selected};
use blindvox_engine::{Colours, Pending, RoomSize};
use blindvox_engine::{Device, GateRoom};
use blindvox_net::channel::Channel;
use zeroize::Zeroizing;

use super::choice::Garbling;
use super::planes::{flip, mask};
use super::public::Public;
use super::schedule::{Gate, Schedule};
use super::stream::{ActiveLabels, TableReader, TableWriter, UNITS, WINDOW, ZeroLabels};
use super::{INSTANCES, Planes};
use crate::error::Result;
use crate::ot::{OtReceiver, OtSender};

/// Bytes of tables, and of labels, of a batch at most.
const MOST_BYTES: usize = 32 << 20;

/// An input bit in the order in which it is loaded.
enum Input {
    /// The garbler's input bit of this number.
    Garbler(usize),
    /// The evaluator's next one.
    Evaluator,
}

/// A gate; numbers are the room's slots: those of the schedule, then one for every input.
enum Placed {
    Xor { of: [usize; 2], out: usize },
    And { of: [usize; 5], flips: [bool; 2], out: usize },
}

/// A schedule ready to run in batches.
pub(super) struct Batched<'a> {
    device: &'a Device,
    hash: GateHash,
    schedule: &'a Schedule,
    inputs: Vec<Input>,
    gates: Vec<Placed>,
    /// The slot and negation of every output.
    outputs: Vec<(usize, bool)>,
    /// Chunks a batch.
    chunks: usize,
}

impl<'a> Batched<'a> {
    /// None where the CPU is to do it.
    pub(super) fn new(how: &'a Garbling, schedule: &'a Schedule) -> Option<Self> {
        let device = how.device.as_ref()?;
        let (mut inputs, mut gates) = (vec![], vec![]);
        // Where a slot's wire is: an input stays where it was uploaded.
        let mut place: Vec<usize> = (0..schedule.slots).collect();
        for gate in &schedule.gates {
            match *gate {
                Gate::Garbler { out, .. } | Gate::Evaluator { out, .. } => {
                    place[out] = schedule.slots + inputs.len();
                    inputs.push(match *gate {
                        Gate::Garbler { input, .. } => Input::Garbler(input),
                        _ => Input::Evaluator,
                    });
                }
                Gate::Xor { of, out } => {
                    gates.push(Placed::Xor { of: of.map(|slot| place[slot]), out });
                    place[out] = out;
                }
                Gate::And { of, flips, out } => {
                    gates.push(Placed::And { of: of.map(|slot| place[slot]), flips, out });
                    place[out] = out;
                }
            }
        }
        let outputs = schedule.outputs.iter().map(|&(slot, negated)| (place[slot], negated)).collect();
        let slots = schedule.slots + inputs.len();
        let chunks = chunks_a_batch(schedule.ands, schedule.evaluator.len(), slots)?;
        Some(Self { device, hash: how.hash, schedule, inputs, gates, outputs, chunks })
    }

    fn batches(&self, chunks: usize) -> impl Iterator<Item = Range<usize>> + use<> {
        let most = self.chunks;
        (0..chunks).step_by(most).map(move |first| first..chunks.min(first + most))
    }

    /// The room of a batch with its keys and the labels of its inputs; `labels` gives those of an input of a chunk.
    fn begin(
        &self,
        public: &mut Public,
        chunks: &Range<usize>,
        instances: usize,
        mut labels: impl FnMut(&Input, usize, &mut Public, &mut [u128]) -> Result<()>,
    ) -> Result<GateRoom> {
        let slots = self.schedule.slots + self.inputs.len();
        let instances = instances.min(chunks.end * INSTANCES) - chunks.start * INSTANCES;
        let size = RoomSize { slots, gates: self.schedule.ands, instances };
        public.keys.next_gates(size.gates * chunks.len());
        let mut all = Zeroizing::new(vec![0; self.inputs.len() * chunks.len() * INSTANCES]);
        for (i, chunk) in chunks.clone().enumerate() {
            for (j, input) in self.inputs.iter().enumerate() {
                labels(input, chunk, public, &mut all[(j * chunks.len() + i) * INSTANCES..][..INSTANCES])?;
            }
        }
        let mut room = GateRoom::new(self.device, self.hash, size)?;
        room.set_keys(&public.keys)?;
        if !all.is_empty() {
            room.write_slots(self.schedule.slots, &all)?;
        }
        Ok(room)
    }

    /// Calls `and(room, number, operands, flips, out)` for every AND.
    fn all_gates(
        &self,
        room: &mut GateRoom,
        and: impl Fn(&mut GateRoom, usize, [usize; 5], [bool; 2], usize) -> blindvox_engine::Result<()>,
    ) -> Result<Pending<Colours>> {
        let mut number = 0;
        for gate in &self.gates {
            match *gate {
                Placed::Xor { of, out } => room.xor(of, out)?,
                Placed::And { of, flips, out } => {
                    and(room, number, of, flips, out)?;
                    number += 1;
                }
            }
        }
        Ok(room.begin_colours(&self.outputs.iter().map(|o| o.0).collect::<Vec<_>>())?)
    }

    /// Writes the colours of a batch's outputs; `share(colours, negated, n)` makes a party's share of them.
    fn finish(
        &self,
        colours: Pending<Colours>,
        chunks: &Range<usize>,
        outputs: &mut Planes,
        share: impl Fn([u128; 2], bool, usize) -> [u128; 2],
    ) -> Result<()> {
        let colours = colours.finish()?;
        for (i, chunk) in chunks.clone().enumerate() {
            let n = outputs.range(chunk).len();
            let mask = mask(n);
            let planes = colours[i..].iter().step_by(chunks.len());
            for ((plane, found), (_, negated)) in outputs.chunk_mut(chunk).iter_mut().zip(planes).zip(&self.outputs) {
                *plane = share([found[0] & mask[0], found[1] & mask[1]], *negated, n);
            }
        }
        Ok(())
    }

    /// See [`super::Garbler::run`].
    pub(super) fn garble(
        &self,
        channel: &mut Channel,
        ot: &mut OtSender,
        public: &mut Public,
        inputs: &Planes,
    ) -> Result<Planes> {
        let (schedule, delta) = (self.schedule, ot.delta());
        let mut zero_labels = ZeroLabels::new(inputs.chunks() * schedule.evaluator.len());
        let mut writer = TableWriter::new(inputs.instances(), schedule.ands);
        let mut outputs = Planes::zero(schedule.outputs.len(), inputs.instances());
        let mut send = |channel: &mut Channel, (tables, colours, chunks): Garbled, outputs: &mut Planes| {
            let rows = tables.finish()?;
            let mut rest = &rows[..];
            for n in chunks.clone().map(|chunk| inputs.range(chunk).len()) {
                for _ in 0..schedule.ands {
                    let (unit, tail) = rest.split_at(2 * n);
                    rest = tail;
                    writer.unit(channel, 2 * n, |room| room.copy_from_slice(unit))?;
                }
            }
            self.finish(colours, &chunks, outputs, flip)
        };
        let mut before = None;
        for chunks in self.batches(inputs.chunks()) {
            let labels = |input: &Input, chunk: usize, public: &mut Public, out: &mut [u128]| {
                match input {
                    Input::Garbler(bit) => {
                        public.labels(out);
                        add_selected(out, &inputs.chunk(chunk)[*bit], delta);
                    }
                    Input::Evaluator => out.copy_from_slice(zero_labels.unit(channel, ot)?),
                }
                Ok(())
            };
            let mut room = self.begin(public, &chunks, inputs.instances(), labels)?;
            let colours = self
                .all_gates(&mut room, |room, number, of, flips, out| room.garble_and(number, delta, of, flips, out))?;
            if let Some(garbled) = before.replace((room.begin_tables()?, colours, chunks)) {
                send(channel, garbled, &mut outputs)?;
            }
        }
        if let Some(garbled) = before {
            send(channel, garbled, &mut outputs)?;
        }
        Ok(outputs)
    }

    /// See [`super::Evaluator::run`].
    pub(super) fn evaluate(
        &self,
        channel: &mut Channel,
        ot: &mut OtReceiver,
        public: &mut Public,
        mut active_labels: ActiveLabels<'_>,
        instances: usize,
    ) -> Result<Planes> {
        let schedule = self.schedule;
        let mut reader = TableReader::new(instances, schedule.ands);
        let mut outputs = Planes::zero(schedule.outputs.len(), instances);
        let mut before = None;
        for chunks in self.batches(outputs.chunks()) {
            let labels = |input: &Input, _: usize, public: &mut Public, out: &mut [u128]| {
                match input {
                    Input::Garbler(_) => public.labels(out),
                    Input::Evaluator => out.copy_from_slice(active_labels.unit(channel, ot)?),
                }
                Ok(())
            };
            let mut room = self.begin(public, &chunks, instances, labels)?;
            let mut rows: Vec<Row> = Vec::with_capacity(2 * schedule.ands * chunks.len() * INSTANCES);
            for n in chunks.clone().map(|chunk| outputs.range(chunk).len()) {
                for _ in 0..schedule.ands {
                    rows.extend_from_slice(reader.unit(channel, 2 * n)?.0);
                }
            }
            room.set_tables(&rows)?;
            let colours = self.all_gates(&mut room, |room, number, of, _, out| room.evaluate_and(number, of, out))?;
            if let Some((colours, chunks)) = before.replace((colours, chunks)) {
                self.finish(colours, &chunks, &mut outputs, |colours, _, _| colours)?;
            }
        }
        if let Some((colours, chunks)) = before {
            self.finish(colours, &chunks, &mut outputs, |colours, _, _| colours)?;
        }
        Ok(outputs)
    }
}

/// A batch of the garbler under way.
type Garbled = (Pending<Vec<Row>>, Pending<Colours>, Range<usize>);

/// Chunks a batch for circuits of so many gates, inputs of the evaluator, and slots; none if not one chunk fits.
fn chunks_a_batch(gates: usize, evaluator: usize, slots: usize) -> Option<usize> {
    if gates == 0 {
        return None;
    }
    // Chunks that a message of tables touches.
    let held = UNITS.div_ceil(gates) + 1;
    let by_window = match evaluator {
        0 => usize::MAX,
        units => (WINDOW / units).saturating_sub(held) / 2,
    };
    let [labels, tables] = RoomSize { slots, gates, instances: INSTANCES_PER_KEY }.bytes();
    let chunks = by_window.min(MOST_BYTES / labels).min(MOST_BYTES / tables);
    (chunks > 0).then_some(chunks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_batches_and_a_message_fit_the_window() {
        for (gates, evaluator) in [(1, 1), (15, 16), (31, 32), (45, 16), (700, 40), (1, 500)] {
            if let Some(chunks) = chunks_a_batch(gates, evaluator, 10) {
                let spanned = UNITS.div_ceil(gates) + 1;
                assert!((2 * chunks + spanned) * evaluator <= WINDOW);
            }
        }
        assert!(chunks_a_batch(15, 16, 40).unwrap() >= 50);
        assert_eq!(chunks_a_batch(21_600, 128, 2000), None);
        assert_eq!(chunks_a_batch(0, 0, 1), None);
    }
}
