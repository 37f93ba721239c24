//! HomConv: a linear layer on shares mod 2^32, by BFV products of the client's ciphertexts with the server's weights.
//!
//! # | from -> to       | content                                                          | bytes                   | phase
//! --|------------------|------------------------------------------------------------------|-------------------------|-------
//! 1 | client -> server | Enc(x_C) of a block of tiles: seed, c0 of every tile and group   | 16 + 51200 a ciphertext | online
//! 2 | server -> client | replies y + r of the block: c1 and the c0 coefficients in use    | 25600 + 6.25 an output  | online
//!
//! The server adds its own share x_S to the ciphertexts, multiplies by the weights, and makes the products into replies
//! that hide everything but y + r for a uniform mask r (see [`blindvox_engine::bfv::reply`]). The client's share of the result
//! is what it decrypts, the server's is bias - r. Coefficients of a product that are no outputs are never sent.
//!
//! **Order.** Tiles go in blocks. While the server makes the replies of one block, the client encrypts the next one: before
//! it reads the replies of row block i of i = 0..rows it sends the i-th part of the next block, and the server reads that part
//! after it sent those replies. At most one row block's replies are under way while either
//! party may be sending, and they are far smaller than what a channel holds, so neither can block the other for good.
//!
//! **Memory.** Server: the ciphertexts of one block of tiles, expanded, and of the next as received; the weights are
//! transformed for a few output channels at a time. Client: one message.

use blindvox_engine::bfv::{Encryptor, PublicKey, ReplyParams, SecretKey};
use blindvox_engine::ring::sampler::PublicSeed;
use blindvox_engine::rlwe::{Ciphertexts, wire};
use blindvox_engine::{Device, GemmShape, Ntt, PolyBatch, Prng};
use blindvox_models::LinearKind;
use blindvox_net::channel::{CHUNK, Channel};
use blindvox_net::transport::recycle;
use std::ops::Range;
use zeroize::Zeroizing;

use super::encoding::{self, ConvShape, Run};
use super::planner::{LinearPlan, LinearSpec, cropped};
use crate::error::{Error, Result};
use crate::pack::{packed_len, unpack};
use crate::share::Shares;

/// Bytes of the public seed of a block.
pub(super) const SEED_BYTES: usize = size_of::<PublicSeed>();

/// What is added to a layer's output, mod 2^32.
#[derive(Clone, Copy)]
pub enum Bias<'a> {
    /// Nothing.
    None,
    /// One value an output channel.
    Channel(&'a [u32]),
    /// One value an output element, `[outputs, depth, height, width]`.
    Map(&'a [u32]),
}

/// The client's part: from its share of the input `[inputs, depth, height, width]` mod 2^32 to its share of the output.
///
/// # Errors
/// [`Error::Protocol`] or a decoding error for replies that are not what the plan says, [`Error::Connection`].
pub fn client(channel: &mut Channel, key: &SecretKey, prng: &mut Prng, plan: &LinearPlan, x: &[u32]) -> Result<Shares> {
    check_input(plan, x)?;
    let (blocks, row_blocks) = (plan.tile_blocks(), plan.row_blocks());
    let mut y = Shares::zeros(plan.output_len());
    let mut first = Upload::new(plan, key, prng, blocks[0].clone());
    first.send_until(channel, prng, x, 1, 1)?;
    for (b, tiles) in blocks.iter().enumerate() {
        let mut next = blocks.get(b + 1).map(|tiles| Upload::new(plan, key, prng, tiles.clone()));
        for (step, rows) in row_blocks.iter().enumerate() {
            if let Some(next) = &mut next {
                next.send_until(channel, prng, x, step + 1, row_blocks.len())?;
            }
            receive_replies(channel, key, &Replies::new(plan, tiles, rows), &mut y)?;
        }
    }
    Ok(interleave(plan, y))
}

/// The server's part: from its share of the input, the `weights` in the order that [`LinearKind`] says, and the bias, to its share
/// of the output.
///
/// # Errors
/// [`Error::Model`] for weights out of the planned range and wrong lengths, [`Error::Protocol`] or a decoding error for
/// ciphertexts that are not what the plan says, [`Error::Connection`].
pub fn server(
    channel: &mut Channel,
    key: &PublicKey,
    prng: &mut Prng,
    plan: &LinearPlan,
    weights: &[i32],
    bias: Bias<'_>,
    x: &[u32],
) -> Result<Shares> {
    server_flooded(channel, key, prng, plan, weights, bias, x, Some(plan.budget().flood_bits))
}

/// [`server`] with a choice of flooding, for tests that show what it hides.
#[allow(clippy::too_many_arguments)]
fn server_flooded(
    channel: &mut Channel,
    key: &PublicKey,
    prng: &mut Prng,
    plan: &LinearPlan,
    weights: &[i32],
    bias: Bias<'_>,
    x: &[u32],
    flood_bits: Option<u32>,
) -> Result<Shares> {
    check_input(plan, x)?;
    check_model(plan, weights, bias)?;
    let weights = convolution_weights(plan, weights);
    let mut transformed = TransformedWeights::new(plan, key.device(), &weights);
    let (blocks, row_blocks) = (plan.tile_blocks(), plan.row_blocks());
    let mut y = Shares::zeros(plan.output_len());
    let mut block = Download::new(plan, blocks[0].clone());
    block.receive_until(channel, 1, 1)?;
    for b in 0..blocks.len() {
        let tiles = &blocks[b];
        let inputs = block.expand(key, x)?;
        let mut next = blocks.get(b + 1).map(|tiles| Download::new(plan, tiles.clone()));
        let mut step = 0;
        for (i, together) in row_blocks.chunks(plan.row_blocks_together()).enumerate() {
            let first = together[0].start;
            let products = transformed.multiply(i, first..together[together.len() - 1].end, &inputs, tiles.len())?;
            for rows in together {
                let replies = Replies::new(plan, tiles, rows);
                let these = (rows.start - first) * tiles.len()..(rows.end - first) * tiles.len();
                send_replies(channel, key, prng, &replies, (&products, these), flood_bits, &mut y)?;
                step += 1;
                if let Some(next) = &mut next {
                    next.receive_until(channel, step, row_blocks.len())?;
                }
            }
        }
        let Some(next) = next else { break };
        block = next;
    }
    // The server's share is what takes the masks away.
    y.iter_mut().for_each(|y| *y = y.wrapping_neg());
    let mut y = interleave(plan, y);
    add_bias(plan, bias, &mut y);
    Ok(y)
}

/// The layer in the clear, mod 2^32.
pub fn ideal(plan: &LinearPlan, weights: &[i32], bias: Bias<'_>, x: &[u32]) -> Vec<u32> {
    let sums = match plan.spec().kind {
        LinearKind::Conv { kernel, .. } => {
            let LinearSpec { inputs, outputs, size, .. } = *plan.spec();
            encoding::ideal(&ConvShape { inputs, outputs, size, kernel }, weights, x)
        }
        LinearKind::Transposed2 { .. } => {
            encoding::ideal(plan.encoding().shape(), &convolution_weights(plan, weights), x)
        }
    };
    let mut y = interleave(plan, sums.into());
    add_bias(plan, bias, &mut y);
    y.to_vec()
}

// 1: ciphertexts of a block of tiles.

/// A block of tiles on its way up: its ciphertexts, all tiles of group 0 first, in messages of equal counts.
struct Block<'a> {
    plan: &'a LinearPlan,
    tiles: Range<usize>,
    /// Messages done so far.
    done: usize,
}

impl<'a> Block<'a> {
    fn new(plan: &'a LinearPlan, tiles: Range<usize>) -> Self {
        Self { plan, tiles, done: 0 }
    }

    fn ciphertexts(&self) -> usize {
        self.tiles.len() * self.plan.encoding().in_groups()
    }

    /// The ciphertexts of each message up to part `part` of `parts` that is not done yet.
    fn next_until(&mut self, part: usize, parts: usize) -> Vec<Range<usize>> {
        let each = self.plan.inputs_a_message();
        let end = self.ciphertexts().div_ceil(each) * part / parts;
        let todo = self.done..end;
        self.done = end;
        todo.map(|m| m * each..((m + 1) * each).min(self.ciphertexts())).collect()
    }

    /// Writes the voxels of ciphertext `i` over n zeros.
    fn gather(&self, i: usize, x: &[u32], poly: &mut [u32]) {
        let (group, tile) = (i / self.tiles.len(), self.tiles.start + i % self.tiles.len());
        for Run { coefficient, index, len } in self.plan.encoding().input_runs(tile, group) {
            poly[coefficient..][..len].copy_from_slice(&x[index..][..len]);
        }
    }
}

/// The client's side of a block.
struct Upload<'a> {
    block: Block<'a>,
    encryptor: Encryptor<'a>,
}

impl<'a> Upload<'a> {
    fn new(plan: &'a LinearPlan, key: &'a SecretKey, prng: &mut Prng, tiles: Range<usize>) -> Self {
        Self { block: Block::new(plan, tiles), encryptor: key.encryptor(prng) }
    }

    fn send_until(
        &mut self,
        channel: &mut Channel,
        prng: &mut Prng,
        x: &[u32],
        part: usize,
        parts: usize,
    ) -> Result<()> {
        for ciphertexts in self.block.next_until(part, parts) {
            let (block, first) = (&self.block, ciphertexts.start);
            let mut message = recycle::with_capacity(SEED_BYTES + ciphertexts.len() * block.plan.input_bytes());
            if first == 0 {
                message.extend_from_slice(&self.encryptor.seed());
            }
            let voxels = |i: usize, poly: &mut [u32]| block.gather(first + i, x, poly);
            let packed = self.encryptor.encrypt_each(ciphertexts.len(), prng, voxels, |_, c0| {
                let mut bytes = Vec::with_capacity(block.plan.input_bytes());
                wire::pack_rows(block.plan.params().basis(), c0, &mut bytes);
                Ok(bytes)
            })?;
            packed.into_iter().for_each(|bytes| message.extend(bytes));
            channel.send(message)?;
        }
        Ok(())
    }
}

/// The server's side of a block.
struct Download<'a> {
    block: Block<'a>,
    seed: PublicSeed,
    /// Each with the place of its first ciphertext.
    messages: Vec<(Vec<u8>, usize)>,
}

impl<'a> Download<'a> {
    fn new(plan: &'a LinearPlan, tiles: Range<usize>) -> Self {
        Self { block: Block::new(plan, tiles), seed: PublicSeed::default(), messages: Vec::new() }
    }

    fn receive_until(&mut self, channel: &mut Channel, part: usize, parts: usize) -> Result<()> {
        for ciphertexts in self.block.next_until(part, parts) {
            let head = if ciphertexts.start == 0 { SEED_BYTES } else { 0 };
            let message = channel.recv_exact(head + ciphertexts.len() * self.block.plan.input_bytes())?;
            if head > 0 {
                self.seed.copy_from_slice(&message[..head]);
            }
            self.messages.push((message, head));
        }
        Ok(())
    }

    /// Adds the server's share and makes the ciphertexts ready to be multiplied.
    fn expand(self, key: &PublicKey, x: &[u32]) -> Result<Ciphertexts> {
        let (plan, device) = (self.block.plan, key.device());
        let (params, basis) = (plan.params(), plan.params().basis());
        let halves = self.messages.iter().flat_map(|(m, head)| m[*head..].chunks_exact(plan.input_bytes()));
        let halves: Vec<&[u8]> = halves.collect();
        let unpack = |i: usize, rows: &mut [u64]| wire::unpack_rows_into(basis, halves[i], rows);
        let voxels = |i: usize, poly: &mut [u32]| self.block.gather(i, x, poly);
        let all = Ciphertexts::expand_each(device, params, &self.seed, self.block.ciphertexts(), unpack, voxels)?;
        self.messages.into_iter().for_each(|(message, _)| recycle::give(message));
        Ok(all)
    }
}

// Products.

/// Weight polynomials in the NTT domain, a row block at a time, kept where the plan says so.
struct TransformedWeights<'a> {
    plan: &'a LinearPlan,
    device: &'a Device,
    weights: &'a [i32],
    kept: Vec<Option<PolyBatch<Ntt>>>,
}

impl<'a> TransformedWeights<'a> {
    fn new(plan: &'a LinearPlan, device: &'a Device, weights: &'a [i32]) -> Self {
        Self { plan, device, weights, kept: plan.row_blocks().iter().map(|_| None).collect() }
    }

    /// The products of `rows`, which are number `step`, with a block of `tiles` tiles: `[rows, tiles]`.
    fn multiply(&mut self, step: usize, rows: Range<usize>, x: &Ciphertexts, tiles: usize) -> Result<Ciphertexts> {
        let (x, size) =
            ([&x.c0, &x.c1], GemmShape { rows: rows.len(), inner: self.plan.encoding().in_groups(), cols: tiles });
        if self.plan.encoding().is_scalar() {
            let w = &self.weights[rows.start * size.inner..rows.end * size.inner];
            let [c0, c1] = PolyBatch::gemm_constants(w, x, size)?;
            return Ok(Ciphertexts { c0, c1 });
        }
        let fresh = match self.kept[step].take() {
            Some(kept) => kept,
            None => self.transform(rows)?,
        };
        let [c0, c1] = fresh.gemm(x, size)?;
        if self.plan.keeps_weights() {
            self.kept[step] = Some(fresh);
        }
        Ok(Ciphertexts { c0, c1 })
    }

    /// `[rows, in_groups]`.
    fn transform(&self, rows: Range<usize>) -> Result<PolyBatch<Ntt>> {
        let (encoding, basis) = (self.plan.encoding(), self.plan.params().basis());
        let (groups, n) = (encoding.in_groups(), basis.n());
        Ok(PolyBatch::from_parts(self.device, basis, rows.len() * groups, |part| {
            let mut polys = Zeroizing::new(vec![0i32; part.len() * n]);
            for (poly, i) in polys.chunks_exact_mut(n).zip(part) {
                encoding.encode_weights(self.weights, rows.start + i / groups, i % groups, poly);
            }
            PolyBatch::lift(self.device, basis, &polys, &vec![1; basis.len()])
        })?)
    }
}

// 2: replies.

/// The replies of a row block: every tile of its first output group, then of the next.
struct Replies {
    /// Where the outputs of each reply are.
    runs: Vec<Vec<Run>>,
    /// Bytes of each reply.
    bytes: Vec<usize>,
    /// The replies of each message.
    messages: Vec<Range<usize>>,
}

impl Replies {
    fn new(plan: &LinearPlan, tiles: &Range<usize>, rows: &Range<usize>) -> Self {
        let each: Vec<_> = rows.clone().flat_map(|row| tiles.clone().map(move |tile| (tile, row))).collect();
        let runs = each.iter().map(|&(tile, row)| plan.encoding().output_runs(tile, row)).collect();
        let bytes: Vec<usize> = each.iter().map(|&(tile, row)| plan.reply_bytes(tile, row)).collect();
        let (mut messages, mut first, mut filled) = (Vec::new(), 0, 0);
        for (i, len) in bytes.iter().enumerate() {
            if i > first && filled + len > CHUNK {
                messages.push(first..i);
                (first, filled) = (i, 0);
            }
            filled += len;
        }
        messages.push(first..bytes.len());
        Self { runs, bytes, messages }
    }

    fn outputs(&self, reply: usize) -> usize {
        self.runs[reply].iter().map(|r| r.len).sum()
    }

    /// A message, which has as many bytes as its replies, into them.
    fn split<'b>(&self, message: &Range<usize>, mut bytes: &'b [u8]) -> Vec<&'b [u8]> {
        let each = message.clone().map(|i| bytes.split_off(..self.bytes[i]).expect("the message has their sum"));
        each.collect()
    }

    /// Brings the outputs of a reply to their coefficients.
    fn scatter<T: Copy>(&self, reply: usize, mut outputs: &[T], poly: &mut [T]) {
        for &Run { coefficient, len, .. } in &self.runs[reply] {
            let (head, tail) = outputs.split_at(len);
            poly[coefficient..][..len].copy_from_slice(head);
            outputs = tail;
        }
    }

    /// c1, and c0 where outputs are, in residues of `bits` bits.
    fn pack(&self, reply: usize, bits: u32, c0: &[u64], c1: &[u64]) -> Vec<u8> {
        let runs = self.runs[reply].iter();
        let used: Vec<u64> = runs.flat_map(|r| &c0[r.coefficient..][..r.len]).copied().collect();
        let mut bytes = Vec::with_capacity(self.bytes[reply]);
        wire::pack(c1, bits, &mut bytes);
        wire::pack(&used, bits, &mut bytes);
        bytes
    }

    /// What [`Self::pack`] packed, to c1 and the coefficients of c0.
    fn unpack(&self, reply: usize, bits: u32, bytes: &[u8], c0: &mut [u64], c1: &mut [u64]) {
        let (whole, used) = bytes.split_at(packed_len(c1.len(), bits));
        wire::unpack_into(whole, bits, c1);
        self.scatter(reply, &unpack(used, bits, self.outputs(reply)), c0);
    }

    /// The outputs among the coefficients of a reply.
    fn gather(&self, reply: usize, poly: &[u32]) -> Vec<u32> {
        self.runs[reply].iter().flat_map(|r| &poly[r.coefficient..][..r.len]).copied().collect()
    }

    /// Brings the outputs of a reply to their places in the layer's.
    fn place(&self, reply: usize, mut outputs: &[u32], y: &mut [u32]) {
        for &Run { index, len, .. } in &self.runs[reply] {
            let (head, tail) = outputs.split_at(len);
            y[index..][..len].copy_from_slice(head);
            outputs = tail;
        }
    }
}

/// Masks the products, sends them, and leaves the masks in `y`.
fn send_replies(
    channel: &mut Channel,
    key: &PublicKey,
    prng: &mut Prng,
    replies: &Replies,
    (products, these): (&Ciphertexts, Range<usize>),
    flood_bits: Option<u32>,
    y: &mut [u32],
) -> Result<()> {
    let bits = key.params().basis().modulus(0).bits();
    let series = prng.series();
    let mask = |i: usize, poly: &mut [u32]| {
        let fresh = Zeroizing::new(series.at(i).fill::<u32>(replies.outputs(i)));
        replies.scatter(i, &fresh, poly);
    };
    let pack = |i: usize, c0: &[u64], c1: &[u64], mask: &[u32]| {
        Ok((replies.pack(i, bits, c0, c1), Zeroizing::new(replies.gather(i, mask))))
    };
    let packed = key.reply_each(products, these, ReplyParams { flood_bits }, prng, mask, pack)?;
    for message in &replies.messages {
        let mut bytes = recycle::with_capacity(replies.bytes[message.clone()].iter().sum());
        packed[message.clone()].iter().for_each(|(packed, _)| bytes.extend(packed));
        channel.send(bytes)?;
    }
    for (i, (_, mask)) in packed.iter().enumerate() {
        replies.place(i, mask, y);
    }
    Ok(())
}

/// Receives and decrypts replies into `y`.
fn receive_replies(channel: &mut Channel, key: &SecretKey, replies: &Replies, y: &mut [u32]) -> Result<()> {
    let bits = key.reply_basis().modulus(0).bits();
    for message in &replies.messages {
        let bytes = channel.recv_exact(replies.bytes[message.clone()].iter().sum())?;
        let packed = replies.split(message, &bytes);
        let unpack = |i: usize, c0: &mut [u64], c1: &mut [u64]| {
            replies.unpack(message.start + i, bits, packed[i], c0, c1);
        };
        let take = |i: usize, poly: &[u32]| Zeroizing::new(replies.gather(message.start + i, poly));
        for (i, outputs) in message.clone().zip(key.decrypt_each(packed.len(), unpack, take)?) {
            replies.place(i, &outputs, y);
        }
        recycle::give(bytes);
    }
    Ok(())
}

// Local steps.

fn check_input(plan: &LinearPlan, x: &[u32]) -> Result<()> {
    let name = &plan.spec().name;
    if x.len() != plan.input_len() {
        let (have, want) = (x.len(), plan.input_len());
        return Err(Error::Model(format!("layer {name}: {have} input shares where {want} were expected")));
    }
    Ok(())
}

fn check_model(plan: &LinearPlan, weights: &[i32], bias: Bias<'_>) -> Result<()> {
    let spec = plan.spec();
    let fault = |what: String| Err(Error::Model(format!("layer {}: {what}", spec.name)));
    if weights.len() != plan.weights_len() {
        return fault(format!("{} weights where {} were expected", weights.len(), plan.weights_len()));
    }
    let bound = 1u32 << (spec.weight_bits - 1);
    if weights.iter().any(|w| w.unsigned_abs() > bound) {
        return fault(format!("a weight is above 2^{} in magnitude", spec.weight_bits - 1));
    }
    let (have, want) = match bias {
        Bias::None => (0, 0),
        Bias::Channel(b) => (b.len(), spec.outputs),
        Bias::Map(b) => (b.len(), plan.output_len()),
    };
    if have != want {
        return fault(format!("{have} biases where {want} were expected"));
    }
    Ok(())
}

/// The weights of the convolution that runs under encryption, `[outputs][inputs][taps]`: for a transposed one, output channel
/// o factor + a takes w[o][c][a]; of a kernel that reaches beyond the volume, the part that doesn't.
fn convolution_weights(plan: &LinearPlan, weights: &[i32]) -> Zeroizing<Vec<i32>> {
    let factor = match plan.spec().kind {
        LinearKind::Transposed2 { factor } => factor,
        LinearKind::Conv { kernel, .. } => {
            let used = cropped(kernel, plan.spec().size);
            let taps = (0..kernel.iter().product()).filter(|tap| {
                let k = [tap / (kernel[1] * kernel[2]), tap / kernel[2] % kernel[1], tap % kernel[2]];
                (0..3).all(|d| k[d].abs_diff(kernel[d] / 2) <= used[d] / 2)
            });
            let taps: Vec<usize> = taps.collect();
            let rows = weights.chunks_exact(kernel.iter().product());
            let used = rows.flat_map(|row| taps.iter().map(|&tap| row[tap]));
            let mut all = Zeroizing::new(Vec::with_capacity(weights.len()));
            all.extend(used);
            return all;
        }
    };
    let (inputs, phases) = (plan.spec().inputs, factor.iter().product::<usize>());
    let order = (0..weights.len()).map(|i| {
        let (c, row) = (i % inputs, i / inputs);
        (row / phases * inputs + c) * phases + row % phases
    });
    Zeroizing::new(order.map(|i| weights[i]).collect())
}

/// Brings the channels of a transposed convolution to their places: `[o][a][z] -> [o][f z + a]`.
fn interleave(plan: &LinearPlan, y: Shares) -> Shares {
    let LinearKind::Transposed2 { factor: [fz, fy, fx] } = plan.spec().kind else { return y };
    let [depth, height, width] = plan.spec().size;
    let [_, rows, columns] = plan.output_size();
    let mut out = Shares::zeros(y.len());
    for (i, line) in y.chunks_exact(width).enumerate() {
        let (row, z, h) = (i / (depth * height), i / height % depth, i % height);
        let (o, a) = (row / (fz * fy * fx), row % (fz * fy * fx));
        let (az, ay, ax) = (a / (fy * fx), a / fx % fy, a % fx);
        let start = ((o * depth * fz + z * fz + az) * rows + h * fy + ay) * columns + ax;
        out[start..].iter_mut().step_by(fx).zip(line).for_each(|(out, &v)| *out = v);
    }
    out
}

fn add_bias(plan: &LinearPlan, bias: Bias<'_>, y: &mut [u32]) {
    match bias {
        Bias::None => {}
        Bias::Channel(values) => {
            for (channel, &b) in y.chunks_exact_mut(plan.output_len() / values.len()).zip(values) {
                channel.iter_mut().for_each(|y| *y = y.wrapping_add(b));
            }
        }
        Bias::Map(values) => y.iter_mut().zip(values).for_each(|(y, &b)| *y = y.wrapping_add(b)),
    }
}

#[cfg(test)]
#[path = "hom_conv_tests.rs"]
mod tests;
