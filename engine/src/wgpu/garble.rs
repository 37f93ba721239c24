//! Twin of `garble.wgsl`: half-gates over many instances, the same bytes as [`crate::garble`].
//!
//! A batch holds the labels of all instances by slot, the keys and the tables on the device. Gates are enqueued one after the
//! other; only reading waits. Instances go in chunks of [`INSTANCES_PER_KEY`], which share a gate's two keys. The keys are
//! those of [`KeySequence`](crate::aes::KeySequence) in `[chunk, gate, 2]` order, the rows of the tables are
//! `[chunk, gate, row, instance of the chunk]`, the generator's row first: the order of a stream of chunks.

use std::sync::Arc;

use blindvox_shaders::{EVALUATE_AND, GARBLE_AND, Kernel, XOR_LABELS};
use zeroize::Zeroizing;

use super::context::{Context, Window};
use super::{GpuBuffer, Wgpu, whole};
use crate::aes::{Aes128, INSTANCES_PER_KEY};
use crate::error::{Error, Result};
use crate::garble::Row;

/// Bytes of a label.
const LABEL: usize = 16;

/// One circuit over many instances, on a GPU.
pub struct GateBatch {
    context: Arc<Context>,
    slots: usize,
    gates: usize,
    instances: usize,
    /// The table of `aes.wgsl`.
    aes: GpuBuffer,
    labels: GpuBuffer,
    keys: GpuBuffer,
    tables: GpuBuffer,
}

/// T[x] = (2 S(x), S(x), S(x), 3 S(x)) from the lowest byte up, S the S-box: the affine image of the inverse in GF(2^8).
fn aes_table() -> Vec<u32> {
    let double = |x: u8| (x << 1) ^ (0x1b * (x >> 7));
    let mut s = [0x63u8; 256];
    // p runs through the powers of the generator 3, r through those of its inverse.
    let (mut p, mut r) = (1u8, 1u8);
    for _ in 0..255 {
        p ^= double(p);
        r ^= r << 1;
        r ^= r << 2;
        r ^= r << 4;
        r ^= 0x09 * (r >> 7);
        s[usize::from(p)] = r ^ r.rotate_left(1) ^ r.rotate_left(2) ^ r.rotate_left(3) ^ r.rotate_left(4) ^ 0x63;
    }
    s.iter().map(|&s| u32::from_le_bytes([double(s), s, s, double(s) ^ s])).collect()
}

impl Wgpu {
    /// Room for a circuit with `slots` wires at a time and `gates` AND gates over `instances` instances.
    ///
    /// # Errors
    /// [`Error::Device`] if labels or tables are larger than a window of the adapter.
    pub fn gate_batch(&self, slots: usize, gates: usize, instances: usize) -> Result<GateBatch> {
        let chunks = instances.div_ceil(INSTANCES_PER_KEY).max(1);
        let padded = chunks * INSTANCES_PER_KEY;
        let sizes =
            [slots.max(1) * padded * LABEL, 2 * gates.max(1) * padded * LABEL, 2 * gates.max(1) * chunks * LABEL];
        let limit = self.context.limits.max_storage_buffer_binding_size as usize;
        if let Some(size) = sizes.iter().find(|&&size| size > limit) {
            return Err(Error::Device(format!(
                "{instances} instances: {size} bytes are above the window limit {limit}"
            )));
        }
        if chunks > self.context.limits.max_compute_workgroups_per_dimension as usize {
            return Err(Error::Device(format!("{instances} instances: more workgroups than the adapter runs at once")));
        }
        let [labels, tables, keys] = sizes.map(|size| GpuBuffer::zeros(&self.context, size));
        Ok(GateBatch {
            context: self.context.clone(),
            slots,
            gates,
            instances,
            aes: GpuBuffer::upload(&self.context, bytemuck::cast_slice(&aes_table()))?,
            labels: labels?,
            keys: keys?,
            tables: tables?,
        })
    }
}

impl GateBatch {
    /// Chunks of instances.
    pub fn chunks(&self) -> usize {
        self.instances.div_ceil(INSTANCES_PER_KEY)
    }

    fn padded(&self) -> usize {
        self.chunks() * INSTANCES_PER_KEY
    }

    fn check(&self, what: &str, found: usize, expected: usize) -> Result<()> {
        let message = || Error::Shape(format!("{found} {what}, the batch has {expected}"));
        (found == expected).then_some(()).ok_or_else(message)
    }

    fn check_slots(&self, slots: &[usize]) -> Result<()> {
        match slots.iter().find(|&&s| s >= self.slots) {
            Some(slot) => Err(Error::Shape(format!("slot {slot}, the batch has {}", self.slots))),
            None => Ok(()),
        }
    }

    /// The hash keys, `[chunk, gate, 2]`.
    pub fn set_keys(&mut self, keys: &[Aes128]) -> Result<()> {
        self.check("keys", keys.len(), 2 * self.gates * self.chunks())?;
        let keys: Vec<u128> = keys.iter().map(|k| k.round_keys[0]).collect();
        self.context.upload(&self.keys, 0, bytemuck::cast_slice(&keys))
    }

    /// The labels of a wire, one an instance.
    pub fn write(&mut self, slot: usize, labels: &[u128]) -> Result<()> {
        self.check_slots(&[slot])?;
        self.check("labels", labels.len(), self.instances)?;
        self.context.upload(&self.labels, slot * self.padded() * LABEL, bytemuck::cast_slice(labels))
    }

    /// The labels of a wire, once all gates so far are done.
    pub fn read(&self, slot: usize) -> Result<Zeroizing<Vec<u128>>> {
        self.check_slots(&[slot])?;
        let mut labels = Zeroizing::new(vec![0u128; self.instances]);
        let bytes = bytemuck::cast_slice_mut(&mut labels);
        self.context.download(&self.labels, slot * self.padded() * LABEL, bytes)?;
        Ok(labels)
    }

    /// `out` = `of[0]` xor `of[1]`.
    pub fn xor(&mut self, of: [usize; 2], out: usize) -> Result<()> {
        self.run(XOR_LABELS, 0, [of[0], of[1], 0, 0, 0], out, [false; 2], 0)
    }

    /// Garbles AND gate number `gate`: slots, `flips` and `delta` as in [`crate::garble::AndInputs`] and
    /// [`crate::garble::garble_and`]. `out` may be one of the inputs.
    pub fn garble_and(&mut self, gate: usize, delta: u128, of: [usize; 5], flips: [bool; 2], out: usize) -> Result<()> {
        self.check_gate(gate)?;
        self.run(GARBLE_AND, gate, of, out, flips, delta)
    }

    /// Evaluates AND gate number `gate` on active labels.
    pub fn evaluate_and(&mut self, gate: usize, of: [usize; 5], out: usize) -> Result<()> {
        self.check_gate(gate)?;
        self.run(EVALUATE_AND, gate, of, out, [false; 2], 0)
    }

    fn check_gate(&self, gate: usize) -> Result<()> {
        let message = || Error::Shape(format!("gate {gate}, the batch has {}", self.gates));
        (gate < self.gates).then_some(()).ok_or_else(message)
    }

    /// Rows of one chunk and gate: those of its instances are in use.
    fn units(&self) -> impl Iterator<Item = usize> + use<> {
        let (instances, gates) = (self.instances, self.gates);
        (0..self.chunks()).flat_map(move |chunk| {
            std::iter::repeat_n((instances - chunk * INSTANCES_PER_KEY).min(INSTANCES_PER_KEY), 2 * gates)
        })
    }

    /// The garbled tables, `[chunk, gate, row, instance of the chunk]`, once all gates so far are done.
    pub fn tables(&self) -> Result<Vec<Row>> {
        let mut padded = vec![Row::default(); 2 * self.gates * self.padded()];
        self.context.download(&self.tables, 0, bytemuck::cast_slice_mut(&mut padded))?;
        Ok(self.units().zip(padded.chunks(INSTANCES_PER_KEY)).flat_map(|(n, rows)| rows[..n].iter().copied()).collect())
    }

    /// The garbler's tables, to evaluate.
    pub fn set_tables(&mut self, tables: &[Row]) -> Result<()> {
        self.check("table rows", tables.len(), 2 * self.gates * self.instances)?;
        let mut padded = vec![Row::default(); 2 * self.gates * self.padded()];
        let mut rest = tables;
        for (n, rows) in self.units().zip(padded.chunks_mut(INSTANCES_PER_KEY)) {
            let (head, tail) = rest.split_at(n);
            rows[..n].copy_from_slice(head);
            rest = tail;
        }
        self.context.upload(&self.tables, 0, bytemuck::cast_slice(&padded))
    }

    fn run(
        &self,
        kernel: Kernel,
        gate: usize,
        of: [usize; 5],
        out: usize,
        flips: [bool; 2],
        delta: u128,
    ) -> Result<()> {
        self.context.healthy()?;
        self.check_slots(&of)?;
        self.check_slots(&[out])?;
        // 16 copies of the table fill half the workgroup memory there is everywhere; a software device has no banks.
        let copies = if self.context.software { 1 } else { 16 };
        let pipeline = self.context.pipeline(kernel, &[("COPIES", copies)]);
        let windows: [Window<'_>; 4] = [whole(&self.aes), whole(&self.labels), whole(&self.keys), whole(&self.tables)];
        let mut parameters: Vec<u32> = (0..4).map(|i| (delta >> (32 * i)) as u32).collect();
        parameters.extend(of.map(|slot| slot as u32));
        let flips = u32::from(flips[0]) | u32::from(flips[1]) << 1;
        parameters.extend([out as u32, self.padded() as u32, gate as u32, self.gates as u32, flips, 0, 0]);
        self.context.dispatch(&pipeline, &windows, &parameters, [self.chunks() as u32, 1, 1]);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first, a middle and the last entry of the S-box of FIPS-197, figure 7.
    #[test]
    fn the_table_holds_the_s_box() {
        let table = aes_table();
        for (x, s) in [(0x00, 0x63), (0x01, 0x7c), (0x53, 0xed), (0xff, 0x16)] {
            assert_eq!(table[x] >> 8 & 0xff, s);
        }
    }
}
