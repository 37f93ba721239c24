//! What a linear layer costs, by which its layout is chosen, from public quantities only: sizes, channels, kernel,
//! width of the weights.
//!
//! Both parties plan for themselves and come to the same plan, so nothing about it is sent. The actual weights play no
//! part, neither in the cost nor in the noise bound: a choice that depended on them would tell about them.

use blindvox_engine::bfv::Params;
use blindvox_engine::ring::sampler::PublicSeed;

use super::coefficients::Encoding;
use crate::pack::packed_len;
use crate::rates;

/// Bytes of the public seed of a block.
pub(super) const SEED_BYTES: usize = size_of::<PublicSeed>();

/// Counts of a plan, both parties together.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Cost {
    /// Ciphertexts encrypted, sent and transformed.
    pub inputs: usize,
    /// Replies made, sent and decrypted.
    pub replies: usize,
    /// Ciphertext times polynomial.
    pub products: usize,
    /// Weight polynomials transformed, as often as they are.
    pub weights: usize,
    /// Client to server.
    pub bytes_up: usize,
    /// Server to client.
    pub bytes_down: usize,
}

impl Cost {
    /// Predicted nanoseconds of one thread for both parties, by the rates of [`rates`].
    pub fn nanoseconds(&self) -> f64 {
        rates::INPUT.ns * self.inputs as f64
            + rates::REPLY.ns * self.replies as f64
            + rates::PRODUCT.ns * self.products as f64
            + rates::WEIGHT.ns * self.weights as f64
            + rates::BYTE.ns * (self.bytes_up + self.bytes_down) as f64
    }
}

// Blocks. In a matrix product of a block of tiles with a group of rows, an input is read for each group of rows, a
// weight written and read for each block of tiles, all from memory in large layers: both should be large, as far as
// memory allows.
/// Input ciphertexts of a block of tiles: 128 KiB each once expanded.
const BLOCK_INPUTS: usize = 4096;
/// Tiles of a block.
const BLOCK_TILES: usize = 32;
/// Blocks of tiles at least, where there are as many tiles and transformed weights can be kept: replies of one block go
/// down while the ciphertexts of the next come up, so that a link carries both directions at once.
const TILE_BLOCKS: usize = 4;
/// Weight polynomials that are transformed at a time, 64 KiB each. Those of a layer that has no more are kept between
/// blocks.
const BLOCK_WEIGHTS: usize = 4096;
/// Products that are made at a time, 128 KiB each.
const BLOCK_PRODUCTS: usize = 1024;
/// Of these, as many are made into replies and sent before anything is received, at most: the replies, 13 MB, stay
/// below what a channel's queue holds.
const BLOCK_REPLIES: usize = 256;
/// As many, if fewer blocks of rows than [`ROW_BLOCKS`] would be left: one party works while the other one does.
const FEW_REPLIES: usize = 64;
const ROW_BLOCKS: usize = 4;

/// How an encoding's tiles and output groups are cut into blocks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Blocks {
    pub(super) tiles: usize,
    pub(super) rows: usize,
}

impl Blocks {
    pub(super) fn new(encoding: &Encoding) -> Self {
        let most = (BLOCK_INPUTS / encoding.in_groups()).clamp(1, BLOCK_TILES);
        let least = if few_weights(encoding) { TILE_BLOCKS.min(encoding.tiles()) } else { 1 };
        let tiles = encoding.tiles().div_ceil(encoding.tiles().div_ceil(most).max(least));
        let most = (BLOCK_REPLIES / tiles).min(encoding.out_groups() / ROW_BLOCKS);
        let rows = most.max(FEW_REPLIES / tiles);
        let rows = if encoding.is_scalar() { rows } else { rows.min(BLOCK_WEIGHTS / encoding.in_groups()) };
        Self { tiles, rows: rows.clamp(1, encoding.out_groups()) }
    }

    /// Whether transformed weights are kept from one block of tiles to the next.
    pub(super) fn keep_weights(self, encoding: &Encoding) -> bool {
        encoding.tiles() > self.tiles && few_weights(encoding)
    }

    /// So many blocks of rows are multiplied together.
    pub(super) fn rows_together(self, encoding: &Encoding) -> usize {
        let products = BLOCK_PRODUCTS / self.tiles;
        let weights = if encoding.is_scalar() { usize::MAX } else { BLOCK_WEIGHTS / encoding.in_groups() };
        (products.min(weights) / self.rows).max(1)
    }

    /// All of the cost but the bytes of c0 that come down.
    fn cost_without_outputs(self, e: &Encoding, params: &Params) -> Cost {
        let (groups, rows, tiles) = (e.in_groups(), e.out_groups(), e.tiles());
        let blocks = tiles.div_ceil(self.tiles);
        let bits = params.basis().modulus(0).bits();
        Cost {
            inputs: tiles * groups,
            replies: tiles * rows,
            products: tiles * groups * rows,
            weights: if e.is_scalar() { 0 } else { groups * rows * if self.keep_weights(e) { 1 } else { blocks } },
            bytes_up: tiles * groups * input_bytes(params) + blocks * SEED_BYTES,
            bytes_down: tiles * rows * packed_len(params.n(), bits),
        }
    }

    /// Counts, and the exact bytes of the messages.
    pub(super) fn cost(self, e: &Encoding, params: &Params) -> Cost {
        let mut cost = self.cost_without_outputs(e, params);
        let bits = params.basis().modulus(0).bits();
        let sizes = e.reply_sizes();
        cost.bytes_down += sizes.iter().map(|(outputs, times)| times * packed_len(*outputs, bits)).sum::<usize>();
        cost
    }

    /// A bound from below on the cost's nanoseconds, found quickly.
    pub(super) fn least_nanoseconds(self, e: &Encoding, params: &Params) -> f64 {
        self.cost_without_outputs(e, params).nanoseconds()
    }
}

/// Whether all of a layer's transformed weights can be kept.
fn few_weights(encoding: &Encoding) -> bool {
    encoding.in_groups() * encoding.out_groups() <= BLOCK_WEIGHTS
}

/// Bytes of one input ciphertext, without its seed.
pub(super) fn input_bytes(params: &Params) -> usize {
    let basis = params.basis();
    (0..basis.len()).map(|l| packed_len(basis.n(), basis.modulus(l).bits())).sum()
}
