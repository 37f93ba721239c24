//! Rooms of gates in main memory: each gate over one chunk of instances after the other, as [`crate::garble`] does it.

use zeroize::Zeroizing;

use super::Cpu;
use crate::aes::INSTANCES_PER_KEY;
use crate::backend::{Colours, Gates, Pending, Room, RoomSize};
use crate::error::{Error, Result};
use crate::garble::keys::Keys;
use crate::garble::{AndInputs, Garbled, GateHash, GateKeys, Row, colours, xor};

/// Bytes of a room, at most.
const MOST_BYTES: usize = 1 << 40;

/// Rows of a gate and chunk.
const UNIT: usize = 2 * INSTANCES_PER_KEY;

/// The labels of a wire, padded.
type Wire = Zeroizing<Vec<u128>>;

struct CpuRoom {
    size: RoomSize,
    keys: Keys,
    /// By slot.
    labels: Vec<Wire>,
    /// Where a gate's output is made, which may be one of its inputs.
    spare: Wire,
    tables: Vec<Row>,
}

impl Gates for Cpu {
    fn room(&self, hash: GateHash, size: RoomSize) -> Result<Box<dyn Room>> {
        // In u128, where nothing wraps; a Vec of more than any memory holds would be a panic.
        let wide = |count: usize| count as u128 * size.instances.max(1) as u128 * (2 * size_of::<Row>()) as u128;
        let bytes = usize::try_from(wide(size.slots).saturating_add(wide(size.gates))).unwrap_or(usize::MAX);
        if bytes > MOST_BYTES {
            return Err(Error::TooLarge { what: format!("{size:?}"), bytes, limit: MOST_BYTES });
        }
        let spare = Zeroizing::new(vec![0; size.padded()]);
        let (labels, tables) =
            (vec![spare.clone(); size.slots], vec![Row::default(); UNIT * size.gates * size.chunks()]);
        Ok(Box::new(CpuRoom { size, keys: Keys::none(hash), labels, spare, tables }))
    }

    fn hashes_in_constant_time(&self, _: GateHash) -> bool {
        true
    }
}

impl CpuRoom {
    /// `f(keys, number of the gate among those of all chunks, operands, output, rows)` for every chunk.
    fn and(
        &mut self,
        gate: usize,
        of: [usize; 5],
        out: usize,
        f: impl Fn(&Keys, usize, AndInputs<'_>, &mut [u128], &mut [Row]),
    ) {
        for (chunk, made) in self.spare.chunks_exact_mut(INSTANCES_PER_KEY).enumerate() {
            let wires = &self.labels;
            let [a0, a1, b0, b1, sum] = of.map(|slot| &wires[slot][chunk * INSTANCES_PER_KEY..][..INSTANCES_PER_KEY]);
            let number = chunk * self.size.gates + gate;
            let inputs = AndInputs { a: [a0, a1], b: [b0, b1], sum };
            f(&self.keys, number, inputs, made, &mut self.tables[number * UNIT..][..UNIT]);
        }
        std::mem::swap(&mut self.spare, &mut self.labels[out]);
    }
}

impl Room for CpuRoom {
    fn set_keys(&mut self, keys: &GateKeys) -> Result<()> {
        self.keys = keys.current().clone();
        Ok(())
    }

    fn write(&mut self, slot: usize, labels: &[u128]) -> Result<()> {
        for (wire, labels) in self.labels[slot..].iter_mut().zip(labels.chunks(self.size.padded())) {
            wire[..labels.len()].copy_from_slice(labels);
        }
        Ok(())
    }

    fn read(&mut self, slot: usize, labels: &mut [u128]) -> Result<()> {
        labels.copy_from_slice(&self.labels[slot][..labels.len()]);
        Ok(())
    }

    fn xor(&mut self, of: [usize; 2], out: usize) -> Result<()> {
        xor(&self.labels[of[0]], &self.labels[of[1]], &mut self.spare);
        std::mem::swap(&mut self.spare, &mut self.labels[out]);
        Ok(())
    }

    fn garble_and(&mut self, gate: usize, delta: u128, of: [usize; 5], flips: [bool; 2], out: usize) -> Result<()> {
        self.and(gate, of, out, |keys, number, inputs, labels, table| {
            keys.garble_and(number, delta, inputs, flips, Garbled { labels, table });
        });
        Ok(())
    }

    fn evaluate_and(&mut self, gate: usize, of: [usize; 5], out: usize) -> Result<()> {
        self.and(gate, of, out, |keys, number, inputs, out, table| keys.evaluate_and(number, inputs, table, &[], out));
        Ok(())
    }

    fn set_tables(&mut self, tables: &[Row]) -> Result<()> {
        self.tables.copy_from_slice(tables);
        Ok(())
    }

    fn begin_tables(&mut self) -> Result<Pending<Vec<Row>>> {
        let tables = self.tables.clone();
        Ok(Pending::new(|| Ok(tables)))
    }

    fn begin_colours(&mut self, slots: &[usize]) -> Result<Pending<Colours>> {
        let plane = |labels: &[u128]| {
            let (low, high) = labels.split_at(128);
            [colours(low), colours(high)]
        };
        let wires = slots.iter().flat_map(|&slot| self.labels[slot].chunks_exact(INSTANCES_PER_KEY));
        let planes = Zeroizing::new(wires.map(plane).collect());
        Ok(Pending::new(|| Ok(planes)))
    }

    fn start(&mut self) -> Result<()> {
        Ok(())
    }
}
