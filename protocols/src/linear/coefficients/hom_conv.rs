//! HomConv: a linear layer on shares mod 2^32, by BFV products of the client's ciphertexts with the server's weights.
//!
//! # | from -> to       | content                                                          | bytes                   | phase
//! --|------------------|------------------------------------------------------------------|-------------------------|-------
//! 1 | client -> server | Enc(x_C) of a block of tiles: seed, c0 of every tile and group   | 16 + 51200 a ciphertext |
//! online 2 | server -> client | replies y + r of the block: c1 and the c0 coefficients in use    | 25600 + 6.25 an
//! output  | online
//!
//! The server adds its own share x_S to the ciphertexts, multiplies by the weights, and makes the products into replies
//! that hide everything but y + r for a uniform mask r (see [`blindvox_engine::bfv::reply`]). The client's share of the
//! result is what it decrypts, the server's is bias - r. Coefficients of a product that are no outputs are never sent.
//!
//! **Order.** Tiles go in blocks. While the server makes the replies of one block, the client encrypts the next one:
//! before it reads the replies of row block i of i = 0..rows it sends the i-th part of the next block, and the server
//! reads that part after it sent those replies. At most one row block's replies are under way while either
//! party may be sending, and they are far smaller than what a channel holds, so neither can block the other for good.
//!
//! **Memory.** Server: the ciphertexts of one block of tiles, expanded, and of the next as received; the weights are
//! transformed for a few output channels at a time. Client: one message.

use std::ops::Range;

use blindvox_engine::Prng;
use blindvox_engine::bfv::{Encryptor, PublicKey, ReplyParams, SecretKey};
use blindvox_engine::ring::sampler::PublicSeed;
use blindvox_net::channel::{CHUNK, Channel};
use blindvox_net::transport::recycle;

use super::products::Weights;
use crate::error::{Error, Result};
use crate::linear::layout::{Layout, view};
use crate::linear::plan::Plan;
use crate::linear::planner::SEED_BYTES;
use crate::linear::tensor::{EncryptedTensor, Sealed};
use crate::share::Shares;

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

/// What the server alone knows of a layer.
#[derive(Clone, Copy)]
pub struct Model<'a> {
    /// `[outputs][inputs][taps]`.
    pub weights: &'a [i32],
    /// Added to the output.
    pub bias: Bias<'a>,
}

/// The client's part: from its share of the input `[inputs, depth, height, width]` mod 2^32 to its share of the output.
///
/// # Errors
/// [`Error::Protocol`] or a decoding error for replies that are not what the plan says, [`Error::Connection`].
pub fn client(channel: &mut Channel, key: &SecretKey, prng: &mut Prng, plan: &Plan, x: &[u32]) -> Result<Shares> {
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
            receive_replies(channel, key, &Replies::new(plan, tiles, rows)?, &mut y)?;
        }
    }
    Ok(y)
}

/// The server's part: from its share of the input and the model to its share of the output.
///
/// # Errors
/// [`Error::Model`] for weights out of the planned range and wrong lengths, [`Error::Protocol`] or a decoding error for
/// ciphertexts that are not what the plan says, [`Error::Connection`].
pub fn server(
    channel: &mut Channel,
    key: &PublicKey,
    prng: &mut Prng,
    plan: &Plan,
    model: Model<'_>,
    x: &[u32],
) -> Result<Shares> {
    let how = ReplyParams { flood_bits: Some(plan.budget().flood_bits) };
    answer(channel, Replier { key, prng, how }, plan, model, x)
}

/// What makes products into replies.
struct Replier<'a> {
    key: &'a PublicKey,
    prng: &'a mut Prng,
    /// A choice only for tests that show what flooding hides.
    how: ReplyParams,
}

fn answer(channel: &mut Channel, replier: Replier<'_>, plan: &Plan, model: Model<'_>, x: &[u32]) -> Result<Shares> {
    check_input(plan, x)?;
    check_model(plan, model)?;
    let Replier { key, prng, how } = replier;
    let (blocks, row_blocks) = (plan.tile_blocks(), plan.row_blocks());
    let mut weights = Weights::new(plan, key.device(), model.weights, row_blocks.len());
    let mut y = Shares::zeros(plan.output_len());
    let mut block = Download::new(plan, blocks[0].clone());
    block.receive_until(channel, 1, 1)?;
    for b in 0..blocks.len() {
        let tiles = &blocks[b];
        let inputs = block.expand(key, x)?;
        let mut next = blocks.get(b + 1).map(|tiles| Download::new(plan, tiles.clone()));
        let mut step = 0;
        for (i, together) in row_blocks.chunks(plan.row_blocks_together()).enumerate() {
            let all = together[0].start..together[together.len() - 1].end;
            let products = inputs.multiply(plan, &mut weights, i, (tiles, all.clone()))?;
            for rows in together {
                let these = (rows.start - all.start) * tiles.len()..(rows.end - all.start) * tiles.len();
                let packed = products.reply(these, key, how, prng, &mut y)?;
                send_replies(channel, &packed)?;
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
    add_bias(plan, model.bias, &mut y);
    Ok(y)
}

/// The layer in the clear, mod 2^32.
pub fn ideal(plan: &Plan, model: Model<'_>, x: &[u32]) -> Vec<u32> {
    let mut y = plan.spec().op().ideal(model.weights, x);
    add_bias(plan, model.bias, &mut y);
    y
}

// 1: ciphertexts of a block of tiles.

/// A block of tiles on its way up: its ciphertexts, all tiles of group 0 first, in messages of equal counts.
struct Block<'a> {
    plan: &'a Plan,
    tiles: Range<usize>,
    /// Messages done so far.
    done: usize,
}

impl<'a> Block<'a> {
    fn new(plan: &'a Plan, tiles: Range<usize>) -> Self {
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

    /// Where the voxels are in some of the ciphertexts.
    fn layout(&self, ciphertexts: Range<usize>) -> Result<Layout> {
        self.plan.input_part(&self.tiles, ciphertexts)
    }
}

/// The client's side of a block.
struct Upload<'a> {
    block: Block<'a>,
    encryptor: Encryptor<'a>,
}

impl<'a> Upload<'a> {
    fn new(plan: &'a Plan, key: &'a SecretKey, prng: &mut Prng, tiles: Range<usize>) -> Self {
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
            let plan = self.block.plan;
            let mut message = recycle::with_capacity(SEED_BYTES + ciphertexts.len() * plan.input_bytes());
            if ciphertexts.start == 0 {
                message.extend_from_slice(&self.encryptor.seed());
            }
            let (layout, values) = (self.block.layout(ciphertexts)?, view(&plan.input_shape(), x));
            EncryptedTensor::seal(values, &layout, &mut self.encryptor, prng, &mut message)?;
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
    fn new(plan: &'a Plan, tiles: Range<usize>) -> Self {
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
    fn expand(self, key: &PublicKey, x: &[u32]) -> Result<EncryptedTensor> {
        let plan = self.block.plan;
        let halves = self.messages.iter().flat_map(|(m, head)| m[*head..].chunks_exact(plan.input_bytes()));
        let sealed = Sealed { seed: self.seed, halves: halves.collect() };
        let layout = self.block.layout(0..self.block.ciphertexts())?;
        let all = EncryptedTensor::open(sealed, view(&plan.input_shape(), x), layout, (plan.params(), key.device()))?;
        self.messages.into_iter().for_each(|(message, _)| recycle::give(message));
        Ok(all)
    }
}

// 2: replies.

/// The replies of a row block: every tile of its first output group, then of the next.
struct Replies {
    /// Where the outputs of each are.
    layout: Layout,
    /// Bytes of each.
    bytes: Vec<usize>,
}

impl Replies {
    fn new(plan: &Plan, tiles: &Range<usize>, rows: &Range<usize>) -> Result<Self> {
        let each = rows.clone().flat_map(|row| tiles.clone().map(move |tile| (tile, row)));
        let bytes = each.map(|(tile, row)| plan.reply_bytes(tile, row)).collect();
        Ok(Self { layout: plan.output_part(tiles, rows)?, bytes })
    }

    /// A message, which has as many bytes as its replies, into them.
    fn split<'b>(&self, message: &Range<usize>, mut bytes: &'b [u8]) -> Vec<&'b [u8]> {
        let each = message.clone().map(|i| bytes.split_off(..self.bytes[i]).expect("the message has their sum"));
        each.collect()
    }
}

/// The replies of each message: as many as a chunk holds, one at least.
fn messages(bytes: impl Iterator<Item = usize>) -> Vec<Range<usize>> {
    let (mut messages, mut first, mut filled, mut count) = (Vec::new(), 0, 0, 0);
    for (i, len) in bytes.enumerate() {
        if i > first && filled + len > CHUNK {
            messages.push(first..i);
            (first, filled) = (i, 0);
        }
        (filled, count) = (filled + len, i + 1);
    }
    messages.push(first..count);
    messages
}

/// Sends packed replies.
fn send_replies(channel: &mut Channel, packed: &[Vec<u8>]) -> Result<()> {
    for message in messages(packed.iter().map(Vec::len)) {
        let mut bytes = recycle::with_capacity(packed[message.clone()].iter().map(Vec::len).sum());
        packed[message].iter().for_each(|packed| bytes.extend(packed));
        channel.send(bytes)?;
    }
    Ok(())
}

/// Receives and decrypts replies into `y`.
fn receive_replies(channel: &mut Channel, key: &SecretKey, replies: &Replies, y: &mut [u32]) -> Result<()> {
    for message in messages(replies.bytes.iter().copied()) {
        let bytes = channel.recv_exact(replies.bytes[message.clone()].iter().sum())?;
        let packed = replies.split(&message, &bytes);
        EncryptedTensor::decrypt_replies(&packed, &replies.layout.part(message), key, y)?;
        recycle::give(bytes);
    }
    Ok(())
}

// Local steps.

fn check_input(plan: &Plan, x: &[u32]) -> Result<()> {
    let name = &plan.spec().name;
    if x.len() != plan.input_len() {
        let (have, want) = (x.len(), plan.input_len());
        return Err(Error::Model(format!("layer {name}: {have} input shares where {want} were expected")));
    }
    Ok(())
}

fn check_model(plan: &Plan, model: Model<'_>) -> Result<()> {
    plan.check_weights(model.weights)?;
    let spec = plan.spec();
    let (have, want) = match model.bias {
        Bias::None => (0, 0),
        Bias::Channel(b) => (b.len(), spec.outputs),
        Bias::Map(b) => (b.len(), plan.output_len()),
    };
    if have != want {
        return Err(Error::Model(format!("layer {}: {have} biases where {want} were expected", spec.name)));
    }
    Ok(())
}

fn add_bias(plan: &Plan, bias: Bias<'_>, y: &mut [u32]) {
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
