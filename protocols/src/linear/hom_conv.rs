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

use blindvox_engine::bfv::ReplyParams;
use blindvox_engine::bfv::cipher::Encryptor;
use blindvox_engine::ring::sampler::PublicSeed;
use blindvox_engine::rlwe::{Ciphertexts, PublicKey, SecretKey, SeededCiphertexts};
use blindvox_engine::{Coeff, Device, GemmShape, Ntt, PolyBatch, Prng};
use rayon::prelude::*;
use std::ops::Range;
use zeroize::Zeroizing;

use super::encoding::{self, Run};
use super::planner::LinearPlan;
use crate::channel::{CHUNK, Channel};
use crate::error::{Error, Result};
use crate::model::LinearKind;
use crate::pack::{pack, packed_len, unpack};

/// Bytes of the public seed of a block.
pub(super) const SEED_BYTES: usize = size_of::<PublicSeed>();

/// What is added to a layer's output, mod 2^32.
#[derive(Clone, Copy, Debug)]
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
pub fn client(
    channel: &mut Channel,
    key: &SecretKey,
    prng: &mut Prng,
    plan: &LinearPlan,
    x: &[u32],
) -> Result<Vec<u32>> {
    check_input(plan, x)?;
    let (blocks, row_blocks) = (plan.tile_blocks(), plan.row_blocks());
    let mut y = vec![0; plan.output_len()];
    let mut first = Upload::new(plan, key, prng, blocks[0].clone());
    first.send_until(channel, prng, x, 1, 1)?;
    for (b, tiles) in blocks.iter().enumerate() {
        let mut next = blocks.get(b + 1).map(|tiles| Upload::new(plan, key, prng, tiles.clone()));
        for (step, rows) in row_blocks.iter().enumerate() {
            if let Some(next) = &mut next {
                next.send_until(channel, prng, x, step + 1, row_blocks.len())?;
            }
            receive_replies(channel, key, plan, &Replies::new(plan, tiles, rows), &mut y)?;
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
) -> Result<Vec<u32>> {
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
) -> Result<Vec<u32>> {
    check_input(plan, x)?;
    check_model(plan, weights, bias)?;
    let weights = convolution_weights(plan, weights);
    let mut transformed = TransformedWeights::new(plan, key.device(), &weights);
    let (blocks, row_blocks) = (plan.tile_blocks(), plan.row_blocks());
    let mut y = vec![0; plan.output_len()];
    let mut block = Download::new(plan, blocks[0].clone());
    block.receive_until(channel, 1, 1)?;
    for b in 0..blocks.len() {
        let tiles = &blocks[b];
        let inputs = block.expand(key, x)?;
        let mut next = blocks.get(b + 1).map(|tiles| Download::new(plan, tiles.clone()));
        for (step, rows) in row_blocks.iter().enumerate() {
            let products = transformed.multiply(step, &inputs, tiles.len())?;
            let replies = Replies::new(plan, tiles, rows);
            send_replies(channel, key, prng, plan, &replies, products, flood_bits, &mut y)?;
            if let Some(next) = &mut next {
                next.receive_until(channel, step + 1, row_blocks.len())?;
            }
        }
        let Some(next) = next else { break };
        block = next;
    }
    let mut y = interleave(plan, y);
    add_bias(plan, bias, &mut y);
    Ok(y)
}

/// The layer in the clear, mod 2^32.
pub fn ideal(plan: &LinearPlan, weights: &[i32], bias: Bias<'_>, x: &[u32]) -> Vec<u32> {
    let mut y = interleave(plan, encoding::ideal(plan.encoding().shape(), &convolution_weights(plan, weights), x));
    add_bias(plan, bias, &mut y);
    y
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

    /// The voxels of the given ciphertexts, `[ciphertexts, n]`.
    fn gather(&self, ciphertexts: Range<usize>, x: &[u32]) -> Zeroizing<Vec<u32>> {
        let (encoding, n) = (self.plan.encoding(), self.plan.params().n());
        let mut polys = Zeroizing::new(vec![0; ciphertexts.len() * n]);
        polys.par_chunks_exact_mut(n).zip(ciphertexts).for_each(|(poly, i)| {
            let (group, tile) = (i / self.tiles.len(), self.tiles.start + i % self.tiles.len());
            for Run { coefficient, index, len } in encoding.input_runs(tile, group) {
                poly[coefficient..][..len].copy_from_slice(&x[index..][..len]);
            }
        });
        polys
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
            let mut message = if ciphertexts.start == 0 { self.encryptor.seed().to_vec() } else { Vec::new() };
            let c0 = self.encryptor.encrypt(&self.block.gather(ciphertexts, x), prng)?;
            message.extend(pack_residues(&c0)?);
            channel.send(message)?;
        }
        Ok(())
    }
}

/// The server's side of a block.
struct Download<'a> {
    block: Block<'a>,
    seed: PublicSeed,
    bytes: Vec<Vec<u8>>,
}

impl<'a> Download<'a> {
    fn new(plan: &'a LinearPlan, tiles: Range<usize>) -> Self {
        Self { block: Block::new(plan, tiles), seed: PublicSeed::default(), bytes: Vec::new() }
    }

    fn receive_until(&mut self, channel: &mut Channel, part: usize, parts: usize) -> Result<()> {
        for ciphertexts in self.block.next_until(part, parts) {
            let head = if ciphertexts.start == 0 { SEED_BYTES } else { 0 };
            let mut message = channel.recv_exact(head + ciphertexts.len() * self.block.plan.input_bytes())?;
            if head > 0 {
                self.seed.copy_from_slice(&message[..head]);
                message.drain(..head);
            }
            self.bytes.push(message);
        }
        Ok(())
    }

    /// Adds the server's share and makes the ciphertexts ready to be multiplied.
    fn expand(self, key: &PublicKey, x: &[u32]) -> Result<Ciphertexts> {
        let params = self.block.plan.params();
        let c0 = unpack_residues(key.device(), self.block.plan, self.bytes)?;
        let mut inputs = SeededCiphertexts::new(self.seed, c0);
        inputs.add_plain(&self.block.gather(0..self.block.ciphertexts(), x), params.plain())?;
        Ok(inputs.expand()?)
    }
}

/// All residues of a batch, a row after the other.
fn pack_residues(batch: &PolyBatch<Coeff>) -> Result<Vec<u8>> {
    let basis = batch.basis();
    let words = batch.download()?;
    let rows: Vec<Vec<u8>> = words
        .par_chunks_exact(basis.n())
        .enumerate()
        .map(|(row, words)| pack(words, basis.modulus(row % basis.len()).bits()))
        .collect();
    Ok(rows.concat())
}

/// What [`pack_residues`] packed, in messages of known lengths.
fn unpack_residues(device: &Device, plan: &LinearPlan, messages: Vec<Vec<u8>>) -> Result<PolyBatch<Coeff>> {
    let basis = plan.params().basis();
    let polys: Vec<&[u8]> = messages.iter().flat_map(|m| m.chunks_exact(plan.input_bytes())).collect();
    let mut words = vec![0; polys.len() * basis.len() * basis.n()];
    words.par_chunks_exact_mut(basis.len() * basis.n()).zip(polys).for_each(|(words, mut bytes)| {
        for (limb, row) in words.chunks_exact_mut(basis.n()).enumerate() {
            let bits = basis.modulus(limb).bits();
            let (head, tail) = bytes.split_at(packed_len(basis.n(), bits));
            row.copy_from_slice(&unpack(head, bits, basis.n()));
            bytes = tail;
        }
    });
    Ok(PolyBatch::upload(device, basis, &words)?)
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

    /// The products of row block `step` with a block of `tiles` tiles: `[rows, tiles]`.
    fn multiply(&mut self, step: usize, x: &Ciphertexts, tiles: usize) -> Result<Ciphertexts> {
        let rows = self.plan.row_blocks()[step].clone();
        let size = GemmShape { rows: rows.len(), inner: self.plan.encoding().in_groups(), cols: tiles };
        if self.plan.encoding().is_scalar() {
            let w = &self.weights[rows.start * size.inner..rows.end * size.inner];
            return Ok(Ciphertexts { c0: x.c0.gemm_constants(w, size)?, c1: x.c1.gemm_constants(w, size)? });
        }
        let fresh = match self.kept[step].take() {
            Some(kept) => kept,
            None => self.transform(rows)?,
        };
        let products = Ciphertexts { c0: fresh.gemm(&x.c0, size)?, c1: fresh.gemm(&x.c1, size)? };
        if self.plan.keeps_weights() {
            self.kept[step] = Some(fresh);
        }
        Ok(products)
    }

    /// `[rows, in_groups]`.
    fn transform(&self, rows: Range<usize>) -> Result<PolyBatch<Ntt>> {
        let (encoding, basis) = (self.plan.encoding(), self.plan.params().basis());
        let (groups, n) = (encoding.in_groups(), basis.n());
        let mut polys = Zeroizing::new(vec![0i32; rows.len() * groups * n]);
        polys.par_chunks_exact_mut(n).enumerate().for_each(|(i, poly)| {
            encoding.encode_weights(self.weights, rows.start + i / groups, i % groups, poly);
        });
        Ok(PolyBatch::lift(self.device, basis, &polys, &vec![1; basis.len()])?.into_ntt()?)
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
}

/// Masks the products, sends them, and leaves the negated masks in `y`.
#[allow(clippy::too_many_arguments)]
fn send_replies(
    channel: &mut Channel,
    key: &PublicKey,
    prng: &mut Prng,
    plan: &LinearPlan,
    replies: &Replies,
    products: Ciphertexts,
    flood_bits: Option<u32>,
    y: &mut [u32],
) -> Result<()> {
    let n = plan.params().n();
    let fresh = Zeroizing::new(prng.fill::<u32>((0..replies.runs.len()).map(|i| replies.outputs(i)).sum()));
    let mut fresh = &fresh[..];
    let mut masks = Zeroizing::new(vec![0u32; replies.runs.len() * n]);
    for (poly, runs) in masks.chunks_exact_mut(n).zip(&replies.runs) {
        for &Run { coefficient, index, len } in runs {
            let (mask, rest) = fresh.split_at(len);
            poly[coefficient..][..len].copy_from_slice(mask);
            y[index..][..len].iter_mut().zip(mask).for_each(|(y, r)| *y = r.wrapping_neg());
            fresh = rest;
        }
    }
    let reply = key.reply(products, &masks, ReplyParams { flood_bits }, prng)?;
    let bits = reply.c0.basis().modulus(0).bits();
    let (c0, c1) = (reply.c0.download()?, reply.c1.download()?);
    for message in &replies.messages {
        let packed: Vec<Vec<u8>> = message
            .clone()
            .into_par_iter()
            .map(|i| {
                let mut bytes = pack(&c1[i * n..][..n], bits);
                let runs = replies.runs[i].iter();
                let used: Vec<u64> = runs.flat_map(|r| &c0[i * n + r.coefficient..][..r.len]).copied().collect();
                bytes.extend(pack(&used, bits));
                bytes
            })
            .collect();
        channel.send(packed.concat())?;
    }
    Ok(())
}

/// Receives and decrypts replies into `y`.
fn receive_replies(
    channel: &mut Channel,
    key: &SecretKey,
    plan: &LinearPlan,
    replies: &Replies,
    y: &mut [u32],
) -> Result<()> {
    for message in &replies.messages {
        let bytes = channel.recv_exact(replies.bytes[message.clone()].iter().sum())?;
        let (c0, c1) = unpack_replies(key, plan, replies, message.clone(), &bytes)?;
        let masked = Zeroizing::new(key.decrypt(c0, c1)?);
        for (poly, runs) in masked.chunks_exact(plan.params().n()).zip(&replies.runs[message.clone()]) {
            for &Run { coefficient, index, len } in runs {
                y[index..][..len].copy_from_slice(&poly[coefficient..][..len]);
            }
        }
    }
    Ok(())
}

/// The ciphertext halves behind a message; c0 is 0 where nothing was sent.
fn unpack_replies(
    key: &SecretKey,
    plan: &LinearPlan,
    replies: &Replies,
    message: Range<usize>,
    mut bytes: &[u8],
) -> Result<(PolyBatch<Coeff>, PolyBatch<Coeff>)> {
    let mut basis = plan.params().basis().clone();
    while basis.len() > 1 {
        basis = basis.dropped()?;
    }
    let (n, bits) = (basis.n(), basis.modulus(0).bits());
    let parts: Vec<&[u8]> =
        message.clone().map(|i| bytes.split_off(..replies.bytes[i]).expect("the message has their sum")).collect();
    let (mut c0, mut c1) = (vec![0u64; parts.len() * n], vec![0u64; parts.len() * n]);
    let polys = c0.par_chunks_exact_mut(n).zip(c1.par_chunks_exact_mut(n));
    polys.zip(message).zip(parts).for_each(|(((c0, c1), i), bytes)| {
        let (whole, used) = bytes.split_at(packed_len(n, bits));
        c1.copy_from_slice(&unpack(whole, bits, n));
        let used = unpack(used, bits, replies.outputs(i));
        let mut used = &used[..];
        for &Run { coefficient, len, .. } in &replies.runs[i] {
            let (head, tail) = used.split_at(len);
            c0[coefficient..][..len].copy_from_slice(head);
            used = tail;
        }
    });
    Ok((PolyBatch::upload(key.device(), &basis, &c0)?, PolyBatch::upload(key.device(), &basis, &c1)?))
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
/// o factor + a takes w[o][c][a].
fn convolution_weights(plan: &LinearPlan, weights: &[i32]) -> Zeroizing<Vec<i32>> {
    let LinearKind::Transposed2 { factor } = plan.spec().kind else { return Zeroizing::new(weights.to_vec()) };
    let (inputs, phases) = (plan.spec().inputs, factor.iter().product::<usize>());
    let order = (0..weights.len()).map(|i| {
        let (c, row) = (i % inputs, i / inputs);
        (row / phases * inputs + c) * phases + row % phases
    });
    Zeroizing::new(order.map(|i| weights[i]).collect())
}

/// Brings the channels of a transposed convolution to their places: `[o][a][z] -> [o][f z + a]`.
fn interleave(plan: &LinearPlan, y: Vec<u32>) -> Vec<u32> {
    let LinearKind::Transposed2 { factor: [fz, fy, fx] } = plan.spec().kind else { return y };
    let [depth, height, width] = plan.spec().size;
    let [_, rows, columns] = plan.output_size();
    let mut out = vec![0; y.len()];
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
