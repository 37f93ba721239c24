//! Rooms of gates on a device, checked: what [`PolyBatch`](crate::PolyBatch) is to polynomials.
//!
//! A room holds the labels of all instances of a circuit by slot, the hash keys and the tables of its gates, wherever
//! its device has them. The gates are those of [`garble`](crate::garble), and so are their bytes.

use zeroize::Zeroizing;

use crate::aes::INSTANCES_PER_KEY;
use crate::backend::{Colours, Gates as _, Pending, Room, RoomSize};
use crate::device::Device;
use crate::error::{Error, Result};
use crate::garble::{GateHash, GateKeys, Row};

/// One circuit over many instances, on a device. What is asked of it may only be enqueued; reading waits.
pub struct GateRoom {
    hash: GateHash,
    size: RoomSize,
    room: Box<dyn Room>,
}

impl GateRoom {
    /// Room on a device for a circuit over many instances, gates under `hash`; labels are zero.
    ///
    /// # Errors
    /// [`Error::TooLarge`] if it is larger than the device allows.
    pub fn new(device: &Device, hash: GateHash, size: RoomSize) -> Result<Self> {
        Ok(Self { hash, size, room: device.room(hash, size)? })
    }

    fn check(&self, what: &str, found: usize, expected: usize) -> Result<()> {
        let message = || Error::Shape(format!("{found} {what}, the room has {expected}"));
        (found == expected).then_some(()).ok_or_else(message)
    }

    fn check_slots(&self, slots: &[usize]) -> Result<()> {
        match slots.iter().find(|&&s| s >= self.size.slots) {
            Some(slot) => Err(Error::Shape(format!("slot {slot}, the room has {}", self.size.slots))),
            None => Ok(()),
        }
    }

    fn check_and(&self, gate: usize, of: [usize; 5], out: usize) -> Result<()> {
        self.check_slots(&of)?;
        self.check_slots(&[out])?;
        let message = || Error::Shape(format!("gate {gate}, the room has {}", self.size.gates));
        (gate < self.size.gates).then_some(()).ok_or_else(message)
    }

    /// The hash keys: the current ones of the sequence, `[chunk, gate]`.
    ///
    /// # Errors
    /// [`Error::Shape`] for keys of another hash, or of another number of gates than those of all chunks.
    pub fn set_keys(&mut self, keys: &GateKeys) -> Result<()> {
        if keys.hash() != self.hash {
            return Err(Error::Shape(format!("keys of {}, the room hashes by {}", keys.hash(), self.hash)));
        }
        self.check("gates' keys", keys.gates(), self.size.gates * self.size.chunks())?;
        self.room.set_keys(keys)
    }

    /// The labels of a wire, one an instance.
    ///
    /// # Errors
    /// [`Error::Shape`] if there is no such slot, or for another number of labels.
    pub fn write(&mut self, slot: usize, labels: &[u128]) -> Result<()> {
        self.check_slots(&[slot])?;
        self.check("labels", labels.len(), self.size.instances)?;
        self.room.write(slot, labels)
    }

    /// The labels of the wires from `first` on, `[slot, chunk, instance of the chunk]` with 256 labels for every chunk.
    ///
    /// # Errors
    /// [`Error::Shape`] for more wires than the room has from `first` on, or a part of one.
    pub fn write_slots(&mut self, first: usize, labels: &[u128]) -> Result<()> {
        let slots = labels.len() / self.size.padded();
        self.check("labels", labels.len(), slots * self.size.padded())?;
        self.check_slots(&[first + slots.saturating_sub(1)])?;
        self.room.write(first, labels)
    }

    /// The labels of a wire, once all gates so far are done.
    ///
    /// # Errors
    /// [`Error::Shape`] if there is no such slot.
    pub fn read(&mut self, slot: usize) -> Result<Zeroizing<Vec<u128>>> {
        self.check_slots(&[slot])?;
        let mut labels = Zeroizing::new(vec![0u128; self.size.instances]);
        self.room.read(slot, &mut labels)?;
        Ok(labels)
    }

    /// `out` = `of[0]` xor `of[1]`.
    ///
    /// # Errors
    /// [`Error::Shape`] if there is no such slot.
    pub fn xor(&mut self, of: [usize; 2], out: usize) -> Result<()> {
        self.check_slots(&of)?;
        self.check_slots(&[out])?;
        self.room.xor(of, out)
    }

    /// Garbles AND gate number `gate`: slots, `flips` and `delta` as in [`AndInputs`](crate::garble::AndInputs) and
    /// [`GateKeys::garble_and`]. `out` may be one of the inputs.
    ///
    /// # Errors
    /// [`Error::Shape`] if there is no such slot or gate.
    pub fn garble_and(&mut self, gate: usize, delta: u128, of: [usize; 5], flips: [bool; 2], out: usize) -> Result<()> {
        self.check_and(gate, of, out)?;
        self.room.garble_and(gate, delta, of, flips, out)
    }

    /// Evaluates AND gate number `gate` on active labels.
    ///
    /// # Errors
    /// [`Error::Shape`] if there is no such slot or gate.
    pub fn evaluate_and(&mut self, gate: usize, of: [usize; 5], out: usize) -> Result<()> {
        self.check_and(gate, of, out)?;
        self.room.evaluate_and(gate, of, out)
    }

    /// The garbled tables, `[chunk, gate, row, instance of the chunk]`, once all gates so far are done.
    pub fn tables(&mut self) -> Result<Vec<Row>> {
        self.begin_tables()?.finish()
    }

    /// The same without waiting yet.
    pub fn begin_tables(&mut self) -> Result<Pending<Vec<Row>>> {
        let (pending, size) = (self.room.begin_tables()?, self.size);
        if size.instances == size.padded() {
            return Ok(pending);
        }
        Ok(Pending::new(move || {
            let padded = pending.finish()?;
            let units = size.units().zip(padded.chunks(INSTANCES_PER_KEY));
            Ok(units.flat_map(|(n, rows)| rows[..n].iter().copied()).collect())
        }))
    }

    /// The colours of some wires, `[wire, chunk]`, without waiting yet.
    ///
    /// # Errors
    /// [`Error::Shape`] if there is no such slot.
    pub fn begin_colours(&mut self, slots: &[usize]) -> Result<Pending<Colours>> {
        self.check_slots(slots)?;
        self.room.begin_colours(slots)
    }

    /// The garbler's tables, to evaluate, as [`Self::tables`] gives them.
    ///
    /// # Errors
    /// [`Error::Shape`] for another number of rows.
    pub fn set_tables(&mut self, tables: &[Row]) -> Result<()> {
        let size = self.size;
        self.check("table rows", tables.len(), 2 * size.gates * size.instances)?;
        if size.instances == size.padded() {
            return self.room.set_tables(tables);
        }
        let mut padded = vec![Row::default(); 2 * size.gates * size.padded()];
        let mut rest = tables;
        for (n, rows) in size.units().zip(padded.chunks_mut(INSTANCES_PER_KEY)) {
            let (head, tail) = rest.split_at(n);
            rows[..n].copy_from_slice(head);
            rest = tail;
        }
        self.room.set_tables(&padded)
    }

    /// Starts the gates so far. Whatever reads starts them too.
    pub fn start(&mut self) -> Result<()> {
        self.room.start()
    }
}
