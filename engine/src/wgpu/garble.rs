//! Twin of `garble.wgsl`: half-gates over many instances, the same bytes as [`crate::garble`].
//!
//! A batch holds the labels of all instances by slot, the keys and the tables on the device. Gates gather, and run in one dispatch when
//! something is read; only reading waits. Instances go in chunks of [`INSTANCES_PER_KEY`], which share a gate's two keys. The keys are
//! those of [`GateKeys`] in `[chunk, gate, 2]` order, the rows of the tables are `[chunk, gate, row, instance of the chunk]`, the
//! generator's row first: the order of a stream of chunks.

use std::ops::Range;
use std::sync::Arc;

use blindvox_shaders::{COLOURS, EVALUATE, EVALUATE_CHACHA, GARBLE, GARBLE_CHACHA, Kernel};
use zeroize::Zeroizing;

use super::context::Context;
use super::download::Download;
use super::{GpuBuffer, Wgpu, whole};
use crate::aes::INSTANCES_PER_KEY;
use crate::error::{Error, Result};
use crate::garble::keys::RawKeys;
use crate::garble::{GateHash, GateKeys, Row};

/// Bytes of a label.
const LABEL: usize = 16;

/// The room that a batch has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GateBatchSize {
    /// Wires that are alive at a time.
    pub slots: usize,
    /// AND gates.
    pub gates: usize,
    /// Instances of the circuit.
    pub instances: usize,
}

impl GateBatchSize {
    /// Chunks of instances, at least one.
    pub fn chunks(self) -> usize {
        self.instances.div_ceil(INSTANCES_PER_KEY).max(1)
    }

    /// Bytes of the labels and of the tables on the device.
    pub fn bytes(self) -> [usize; 2] {
        let labels = self.chunks() * INSTANCES_PER_KEY * LABEL;
        [self.slots.max(1) * labels, 2 * self.gates.max(1) * labels]
    }

    /// Rows of one chunk and gate, half of a unit of the tables: those of its instances are in use.
    fn rows(self) -> impl Iterator<Item = usize> {
        let instances = self.instances;
        (0..instances.div_ceil(INSTANCES_PER_KEY)).flat_map(move |chunk| {
            std::iter::repeat_n((instances - chunk * INSTANCES_PER_KEY).min(INSTANCES_PER_KEY), 2 * self.gates)
        })
    }
}

/// Banks of workgroup memory, and lanes that read it at a time.
const BANKS: u32 = 32;
/// Bytes of workgroup memory beside the table.
const BESIDE_TABLE: u32 = 4096;

impl Context {
    /// Copies of the AES table in workgroup memory. With one for every bank no two lanes meet at a bank, whatever they
    /// look up. Where that does not fit, half of it does. A software device has no banks; checked runs take copies to be tested anywhere.
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
/// Half-gates over all instances in a dispatch at most, so that it takes well under a second: on a software device and on a GPU.
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
pub struct GateBatch {
    context: Arc<Context>,
    hash: GateHash,
    size: GateBatchSize,
    /// The table of `aes.wgsl`, or the first key of `chacha.wgsl`.
    constants: GpuBuffer,
    labels: GpuBuffer,
    keys: GpuBuffer,
    tables: GpuBuffer,
    waiting: Waiting,
}

/// Tables on their way from the device.
pub struct PendingTables {
    download: Download,
    size: GateBatchSize,
}

/// Colours on their way from the device.
pub struct PendingColours {
    download: Download,
    planes: usize,
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
    /// Whether the time of gates does not depend on labels: ChaCha12 looks nothing up, AES does so without conflicts if
    /// each bank of workgroup memory has its own copy of the table.
    pub fn hashes_in_constant_time(&self, hash: GateHash) -> bool {
        hash == GateHash::ChaCha12 || self.context.aes_copies() == BANKS
    }

    /// Room for a circuit over many instances, gates under `hash`.
    ///
    /// # Errors
    /// [`Error::Device`] if labels or tables are larger than a window of the adapter.
    pub fn gate_batch(&self, hash: GateHash, size: GateBatchSize) -> Result<GateBatch> {
        let GateBatchSize { gates, instances, .. } = size;
        let [labels, tables] = size.bytes();
        let keys = match hash {
            GateHash::Aes => 2 * gates.max(1) * size.chunks() * LABEL,
            GateHash::ChaCha12 => LABEL,
        };
        let limit = self.context.limits.max_storage_buffer_binding_size as usize;
        if let Some(size) = [labels, tables, keys].iter().find(|&&size| size > limit) {
            return Err(Error::Device(format!(
                "{instances} instances: {size} bytes are above the window limit {limit}"
            )));
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
        Ok(GateBatch {
            context,
            hash,
            size,
            constants,
            labels: zeros(labels)?,
            keys: zeros(keys)?,
            tables: zeros(tables)?,
            waiting: Waiting::default(),
        })
    }
}

impl GateBatch {
    fn padded(&self) -> usize {
        self.size.chunks() * INSTANCES_PER_KEY
    }

    fn check(&self, what: &str, found: usize, expected: usize) -> Result<()> {
        let message = || Error::Shape(format!("{found} {what}, the batch has {expected}"));
        (found == expected).then_some(()).ok_or_else(message)
    }

    fn check_slots(&self, slots: &[usize]) -> Result<()> {
        match slots.iter().find(|&&s| s >= self.size.slots) {
            Some(slot) => Err(Error::Shape(format!("slot {slot}, the batch has {}", self.size.slots))),
            None => Ok(()),
        }
    }

    /// The hash keys: the current ones of the sequence, `[chunk, gate]`.
    pub fn set_keys(&mut self, keys: &GateKeys) -> Result<()> {
        if keys.hash() != self.hash {
            return Err(Error::Shape(format!("keys of {}, the batch hashes by {}", keys.hash(), self.hash)));
        }
        self.check("gates' keys", keys.gates(), self.size.gates * self.size.chunks())?;
        self.start()?;
        match keys.raw() {
            RawKeys::Aes(keys) => self.context.upload(&self.keys, 0, bytemuck::cast_slice(&keys)),
            RawKeys::ChaCha12(first) => self.context.upload(&self.constants, 0, bytemuck::cast_slice(&first)),
        }
    }

    /// The labels of a wire, one an instance.
    pub fn write(&mut self, slot: usize, labels: &[u128]) -> Result<()> {
        self.check_slots(&[slot])?;
        self.check("labels", labels.len(), self.size.instances)?;
        self.start()?;
        self.context.upload(&self.labels, slot * self.padded() * LABEL, bytemuck::cast_slice(labels))
    }

    /// The labels of the wires from `first` on, `[slot, chunk, instance of the chunk]` with 256 labels for every chunk.
    pub fn write_slots(&mut self, first: usize, labels: &[u128]) -> Result<()> {
        let slots = labels.len() / self.padded();
        self.check("labels", labels.len(), slots * self.padded())?;
        self.check_slots(&[first + slots.saturating_sub(1)])?;
        self.start()?;
        self.context.upload(&self.labels, first * self.padded() * LABEL, bytemuck::cast_slice(labels))
    }

    /// The labels of a wire, once all gates so far are done.
    pub fn read(&mut self, slot: usize) -> Result<Zeroizing<Vec<u128>>> {
        self.check_slots(&[slot])?;
        self.start()?;
        let mut labels = Zeroizing::new(vec![0u128; self.size.instances]);
        let bytes = bytemuck::cast_slice_mut(&mut labels);
        self.context.download(&self.labels, slot * self.padded() * LABEL, bytes)?;
        Ok(labels)
    }

    /// `out` = `of[0]` xor `of[1]`.
    pub fn xor(&mut self, of: [usize; 2], out: usize) -> Result<()> {
        self.push(Kind::Xor, 0, [of[0], of[1], 0, 0, 0], out, [false; 2])
    }

    /// Garbles AND gate number `gate`: slots, `flips` and `delta` as in [`crate::garble::AndInputs`] and
    /// [`GateKeys::garble_and`]. `out` may be one of the inputs.
    pub fn garble_and(&mut self, gate: usize, delta: u128, of: [usize; 5], flips: [bool; 2], out: usize) -> Result<()> {
        self.and(Side::Garble { delta }, gate, of, flips, out)
    }

    /// Evaluates AND gate number `gate` on active labels.
    pub fn evaluate_and(&mut self, gate: usize, of: [usize; 5], out: usize) -> Result<()> {
        self.and(Side::Evaluate, gate, of, [false; 2], out)
    }

    fn and(&mut self, side: Side, gate: usize, of: [usize; 5], flips: [bool; 2], out: usize) -> Result<()> {
        self.check_gate(gate)?;
        if self.waiting.side.is_some_and(|waiting| waiting != side) {
            self.start()?;
        }
        let ready = gate / GATES_AHEAD;
        if self.waiting.ready != Some(ready) {
            self.push(Kind::Keys, ready * GATES_AHEAD, [0; 5], 0, [false; 2])?;
            self.waiting.ready = Some(ready);
        }
        self.waiting.side = Some(side);
        self.push(Kind::And, gate, of, out, flips)
    }

    fn check_gate(&self, gate: usize) -> Result<()> {
        let message = || Error::Shape(format!("gate {gate}, the batch has {}", self.size.gates));
        (gate < self.size.gates).then_some(()).ok_or_else(message)
    }

    /// The garbled tables, `[chunk, gate, row, instance of the chunk]`, once all gates so far are done.
    pub fn tables(&mut self) -> Result<Vec<Row>> {
        self.begin_tables()?.finish()
    }

    /// The same without waiting yet.
    pub fn begin_tables(&mut self) -> Result<PendingTables> {
        self.start()?;
        let bytes = 2 * self.size.gates * self.padded() * LABEL;
        Ok(PendingTables { download: self.context.begin_download(&self.tables, 0, bytes)?, size: self.size })
    }

    /// The colours of some wires without waiting yet.
    pub fn begin_colours(&mut self, slots: &[usize]) -> Result<PendingColours> {
        self.check_slots(slots)?;
        self.start()?;
        let planes = slots.len() * self.size.chunks();
        let colours = GpuBuffer::zeros(&self.context, planes * size_of::<[u128; 2]>())?;
        let of: Vec<[u32; 4]> = slots.iter().map(|&slot| [slot as u32, 0, 0, 0]).collect();
        let of = GpuBuffer::upload(&self.context, bytemuck::cast_slice(&of))?;
        if !slots.is_empty() {
            self.dispatch(COLOURS, &of, &colours, 0, 0..slots.len(), slots.len());
        }
        let download = self.context.begin_download(&colours, 0, colours.bytes())?;
        Ok(PendingColours { download, planes })
    }

    /// The garbler's tables, to evaluate.
    pub fn set_tables(&mut self, tables: &[Row]) -> Result<()> {
        self.check("table rows", tables.len(), 2 * self.size.gates * self.size.instances)?;
        self.start()?;
        if self.size.instances.is_multiple_of(INSTANCES_PER_KEY) {
            return self.context.upload(&self.tables, 0, bytemuck::cast_slice(tables));
        }
        let mut padded = vec![Row::default(); 2 * self.size.gates * self.padded()];
        let mut rest = tables;
        for (n, rows) in self.size.rows().zip(padded.chunks_mut(INSTANCES_PER_KEY)) {
            let (head, tail) = rest.split_at(n);
            rows[..n].copy_from_slice(head);
            rest = tail;
        }
        self.context.upload(&self.tables, 0, bytemuck::cast_slice(&padded))
    }

    fn push(&mut self, kind: Kind, gate: usize, of: [usize; 5], out: usize, flips: [bool; 2]) -> Result<()> {
        self.check_slots(&of)?;
        self.check_slots(&[out])?;
        let flips = u32::from(flips[0]) << 8 | u32::from(flips[1]) << 9;
        let [a0, a1, b0, b1, sum] = of.map(|slot| slot as u32);
        self.waiting.steps.push([kind as u32 | flips, a0, a1, b0, b1, sum, out as u32, gate as u32]);
        Ok(())
    }

    /// Starts the gates so far. Whatever reads starts them too.
    pub fn start(&mut self) -> Result<()> {
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
        let work = WORK[usize::from(!self.context.software)] / self.padded();
        let buffer = GpuBuffer::upload(&self.context, bytemuck::cast_slice(&steps))?;
        for range in dispatches(&steps, work) {
            self.dispatch(kernel, &buffer, &self.tables, delta, range, 1);
        }
        Ok(())
    }

    fn dispatch(
        &self,
        kernel: Kernel,
        steps: &GpuBuffer,
        tables: &GpuBuffer,
        delta: u128,
        range: Range<usize>,
        outputs: usize,
    ) {
        let copies = self.context.aes_copies();
        let by_table = kernel == GARBLE || kernel == EVALUATE;
        let constants: &[_] = if by_table { &[("COPIES", copies)] } else { &[] };
        let pipeline = self.context.pipeline(kernel, constants);
        let windows = [&self.constants, &self.labels, &self.keys, tables, steps].map(whole);
        let mut parameters: Vec<u32> = (0..4).map(|i| (delta >> (32 * i)) as u32).collect();
        parameters.extend([self.padded(), self.size.gates, range.len(), range.start].map(|v| v as u32));
        self.context.dispatch(&pipeline, &windows, &parameters, [self.size.chunks() as u32, outputs as u32, 1]);
    }
}

/// Ranges of steps that make a dispatch each, of at most `work` steps or up to the next that makes keys ready, as every dispatch has to begin.
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

impl PendingTables {
    /// The rows, as [`GateBatch::tables`] gives them.
    pub fn finish(self) -> Result<Vec<Row>> {
        let mut padded = vec![Row::default(); 2 * self.size.gates * self.size.chunks() * INSTANCES_PER_KEY];
        self.download.finish(bytemuck::cast_slice_mut(&mut padded))?;
        if self.size.instances.is_multiple_of(INSTANCES_PER_KEY) && self.size.instances > 0 {
            return Ok(padded);
        }
        let units = self.size.rows().zip(padded.chunks(INSTANCES_PER_KEY));
        Ok(units.flat_map(|(n, rows)| rows[..n].iter().copied()).collect())
    }
}

impl PendingColours {
    /// For every wire and chunk 256 bits, instance i's the bit i % 128 of word i / 128. Bits beyond the last instance have no meaning.
    pub fn finish(self) -> Result<Zeroizing<Vec<[u128; 2]>>> {
        let mut planes = Zeroizing::new(vec![[0; 2]; self.planes]);
        self.download.finish(bytemuck::cast_slice_mut(&mut planes))?;
        Ok(planes)
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
