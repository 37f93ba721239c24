//! Twin of `garble.wgsl`: half-gates over many instances, the same bytes as [`crate::garble`].
//!
//! A room holds the labels of all instances by slot, the keys and the tables on the device. Gates gather, and run in
//! one dispatch when something is read; only reading waits. The keys are those of [`GateKeys`] in `[chunk, gate, 2]`
//! order.

use std::ops::Range;
use std::sync::Arc;

use blindvox_shaders::{COLOURS, EVALUATE, EVALUATE_CHACHA, GARBLE, GARBLE_CHACHA, Kernel};
use zeroize::Zeroizing;

use super::context::Context;
use super::{GpuBuffer, Wgpu, whole};
use crate::backend::{Colours, Gates, Pending, Room, RoomSize};
use crate::error::{Error, Result};
use crate::garble::keys::RawKeys;
use crate::garble::{GateHash, GateKeys, Row};

/// Bytes of a label.
const LABEL: usize = 16;

/// Banks of workgroup memory, and lanes that read it at a time.
const BANKS: u32 = 32;
/// Bytes of workgroup memory beside the table.
const BESIDE_TABLE: u32 = 4096;

impl Context {
    /// Copies of the AES table in workgroup memory. With one for every bank no two lanes meet at a bank, whatever they
    /// look up. Where that does not fit, half of it does. A software device has no banks; checked runs take copies to
    /// be tested anywhere.
    fn aes_copies(&self) -> u32 {
        let fits = |copies: u32| copies * 1024 + BESIDE_TABLE <= self.limits.max_compute_workgroup_storage_size;
        match self.software && !self.pipelines.checked {
            true => 1,
            false if fits(BANKS) => BANKS,
            false => BANKS / 2,
        }
    }
}

/// Gates whose keys the kernels make ready at a time.
const GATES_AHEAD: usize = 8;
/// Half-gates over all instances in a dispatch at most, so that it takes well under a second: on a software device and
/// on a GPU.
const WORK: [usize; 2] = [1 << 21, 1 << 28];

/// A step as the kernels read it.
type StepWords = [u32; 8];

/// Kinds of steps.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Xor = 0,
    And = 1,
    Keys = 2,
}

/// What ANDs do.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Garble { delta: u128 },
    Evaluate,
}

/// The steps of one dispatch.
struct Part<'a> {
    steps: &'a GpuBuffer,
    range: Range<usize>,
    /// Workgroups a chunk of instances.
    outputs: usize,
}

/// Steps that wait for their dispatch.
#[derive(Default)]
struct Waiting {
    steps: Vec<StepWords>,
    /// None before the first AND.
    side: Option<Side>,
    /// Which gates' keys are ready at this point, a number of [`GATES_AHEAD`].
    ready: Option<usize>,
}

/// One circuit over many instances, on a GPU.
struct GpuRoom {
    context: Arc<Context>,
    hash: GateHash,
    size: RoomSize,
    /// The table of `aes.wgsl`, or the first key of `chacha.wgsl`.
    constants: GpuBuffer,
    labels: GpuBuffer,
    keys: GpuBuffer,
    tables: GpuBuffer,
    waiting: Waiting,
}

/// T[x] = (2 S(x), S(x), S(x), 3 S(x)) from the lowest byte up, S the S-box: the affine image of the inverse in
/// GF(2^8).
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

impl Gates for Wgpu {
    fn room(&self, hash: GateHash, size: RoomSize) -> Result<Box<dyn Room>> {
        let RoomSize { gates, instances, .. } = size;
        let [labels, tables] = size.bytes();
        let keys = match hash {
            GateHash::Aes => 2 * gates.max(1) * size.chunks() * LABEL,
            GateHash::ChaCha12 => LABEL,
        };
        let limit = self.context.limits.max_storage_buffer_binding_size as usize;
        if let Some(&bytes) = [labels, tables, keys].iter().find(|&&size| size > limit) {
            return Err(Error::TooLarge { what: format!("gates of {instances} instances"), bytes, limit });
        }
        if size.chunks() > self.context.limits.max_compute_workgroups_per_dimension as usize {
            return Err(Error::Device(format!("{instances} instances: more workgroups than the adapter runs at once")));
        }
        let zeros = |bytes| GpuBuffer::zeros(&self.context, bytes);
        let constants = match hash {
            GateHash::Aes => GpuBuffer::upload(&self.context, bytemuck::cast_slice(&aes_table()))?,
            GateHash::ChaCha12 => zeros(2 * LABEL)?,
        };
        let context = self.context.clone();
        Ok(Box::new(GpuRoom {
            context,
            hash,
            size,
            constants,
            labels: zeros(labels)?,
            keys: zeros(keys)?,
            tables: zeros(tables)?,
            waiting: Waiting::default(),
        }))
    }

    /// ChaCha12 looks nothing up, AES does so without conflicts if each bank of workgroup memory has its own copy of
    /// the table.
    fn hashes_in_constant_time(&self, hash: GateHash) -> bool {
        hash == GateHash::ChaCha12 || self.context.aes_copies() == BANKS
    }
}

impl Room for GpuRoom {
    fn set_keys(&mut self, keys: &GateKeys) -> Result<()> {
        self.start()?;
        match keys.raw() {
            RawKeys::Aes(keys) => self.context.upload(&self.keys, 0, bytemuck::cast_slice(&keys)),
            RawKeys::ChaCha12(first) => self.context.upload(&self.constants, 0, bytemuck::cast_slice(&first)),
        }
    }

    fn write(&mut self, slot: usize, labels: &[u128]) -> Result<()> {
        self.start()?;
        self.context.upload(&self.labels, slot * self.size.padded() * LABEL, bytemuck::cast_slice(labels))
    }

    fn read(&mut self, slot: usize, labels: &mut [u128]) -> Result<()> {
        self.start()?;
        self.context.download(&self.labels, slot * self.size.padded() * LABEL, bytemuck::cast_slice_mut(labels))
    }

    fn xor(&mut self, of: [usize; 2], out: usize) -> Result<()> {
        self.push(Kind::Xor, 0, [of[0], of[1], 0, 0, 0], [false; 2], out);
        Ok(())
    }

    fn garble_and(&mut self, gate: usize, delta: u128, of: [usize; 5], flips: [bool; 2], out: usize) -> Result<()> {
        self.and(Side::Garble { delta }, gate, of, flips, out)
    }

    fn evaluate_and(&mut self, gate: usize, of: [usize; 5], out: usize) -> Result<()> {
        self.and(Side::Evaluate, gate, of, [false; 2], out)
    }

    fn set_tables(&mut self, tables: &[Row]) -> Result<()> {
        self.start()?;
        self.context.upload(&self.tables, 0, bytemuck::cast_slice(tables))
    }

    fn begin_tables(&mut self) -> Result<Pending<Vec<Row>>> {
        self.start()?;
        let rows = 2 * self.size.gates * self.size.padded();
        let download = self.context.begin_download(&self.tables, 0, rows * size_of::<Row>())?;
        Ok(Pending::new(move || {
            let mut tables = vec![Row::default(); rows];
            download.finish(bytemuck::cast_slice_mut(&mut tables))?;
            Ok(tables)
        }))
    }

    fn begin_colours(&mut self, slots: &[usize]) -> Result<Pending<Colours>> {
        self.start()?;
        let planes = slots.len() * self.size.chunks();
        let colours = GpuBuffer::zeros(&self.context, planes * size_of::<[u128; 2]>())?;
        let of: Vec<[u32; 4]> = slots.iter().map(|&slot| [slot as u32, 0, 0, 0]).collect();
        let of = GpuBuffer::upload(&self.context, bytemuck::cast_slice(&of))?;
        if !slots.is_empty() {
            let part = Part { steps: &of, range: 0..slots.len(), outputs: slots.len() };
            self.dispatch(COLOURS, &colours, 0, part);
        }
        let download = self.context.begin_download(&colours, 0, colours.bytes())?;
        Ok(Pending::new(move || {
            let mut found = Zeroizing::new(vec![[0; 2]; planes]);
            download.finish(bytemuck::cast_slice_mut(&mut found))?;
            Ok(found)
        }))
    }

    fn start(&mut self) -> Result<()> {
        let Waiting { steps, side, .. } = std::mem::take(&mut self.waiting);
        if steps.is_empty() {
            return Ok(());
        }
        let (kernel, delta) = match (side, self.hash) {
            (Some(Side::Garble { delta }), GateHash::Aes) => (GARBLE, delta),
            (Some(Side::Garble { delta }), GateHash::ChaCha12) => (GARBLE_CHACHA, delta),
            (_, GateHash::Aes) => (EVALUATE, 0),
            (_, GateHash::ChaCha12) => (EVALUATE_CHACHA, 0),
        };
        let work = WORK[usize::from(!self.context.software)] / self.size.padded();
        let buffer = GpuBuffer::upload(&self.context, bytemuck::cast_slice(&steps))?;
        for range in dispatches(&steps, work) {
            self.dispatch(kernel, &self.tables, delta, Part { steps: &buffer, range, outputs: 1 });
        }
        Ok(())
    }
}

impl GpuRoom {
    fn and(&mut self, side: Side, gate: usize, of: [usize; 5], flips: [bool; 2], out: usize) -> Result<()> {
        if self.waiting.side.is_some_and(|waiting| waiting != side) {
            self.start()?;
        }
        let ready = gate / GATES_AHEAD;
        if self.waiting.ready != Some(ready) {
            self.push(Kind::Keys, ready * GATES_AHEAD, [0; 5], [false; 2], 0);
            self.waiting.ready = Some(ready);
        }
        self.waiting.side = Some(side);
        self.push(Kind::And, gate, of, flips, out);
        Ok(())
    }

    fn push(&mut self, kind: Kind, gate: usize, of: [usize; 5], flips: [bool; 2], out: usize) {
        let flips = u32::from(flips[0]) << 8 | u32::from(flips[1]) << 9;
        let [a0, a1, b0, b1, sum] = of.map(|slot| slot as u32);
        self.waiting.steps.push([kind as u32 | flips, a0, a1, b0, b1, sum, out as u32, gate as u32]);
    }

    fn dispatch(&self, kernel: Kernel, tables: &GpuBuffer, delta: u128, part: Part<'_>) {
        let Part { steps, range, outputs } = part;
        let copies = self.context.aes_copies();
        let by_table = kernel == GARBLE || kernel == EVALUATE;
        let constants: &[_] = if by_table { &[("COPIES", copies)] } else { &[] };
        let pipeline = self.context.pipeline(kernel, constants);
        let windows = [&self.constants, &self.labels, &self.keys, tables, steps].map(whole);
        let mut parameters: Vec<u32> = (0..4).map(|i| (delta >> (32 * i)) as u32).collect();
        parameters.extend([self.size.padded(), self.size.gates, range.len(), range.start].map(|v| v as u32));
        self.context.dispatch(&pipeline, &windows, &parameters, [self.size.chunks() as u32, outputs as u32, 1]);
    }
}

/// Ranges of steps that make a dispatch each, of at most `work` steps or up to the next that makes keys ready, as every
/// dispatch has to begin.
fn dispatches(steps: &[StepWords], work: usize) -> Vec<Range<usize>> {
    let (mut ranges, mut first) = (vec![], 0);
    for (i, step) in steps.iter().enumerate() {
        if i - first >= work && step[0] == Kind::Keys as u32 {
            ranges.push(first..i);
            first = i;
        }
    }
    ranges.push(first..steps.len());
    ranges
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
    #[test]
    fn a_dispatch_begins_where_keys_are_made_ready() {
        let step = |kind: Kind| [kind as u32, 0, 0, 0, 0, 0, 0, 0];
        let steps: Vec<StepWords> = "xkaaxkakaa"
            .chars()
            .map(|c| {
                step(match c {
                    'x' => Kind::Xor,
                    'a' => Kind::And,
                    _ => Kind::Keys,
                })
            })
            .collect();
        assert_eq!(dispatches(&steps, 100), std::slice::from_ref(&(0..10)));
        assert_eq!(dispatches(&steps, 3), [0..5, 5..10]);
        assert_eq!(dispatches(&steps, 0), [0..1, 1..5, 5..7, 7..10]);
    }
}
