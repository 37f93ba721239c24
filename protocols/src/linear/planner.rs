//! Chooses how a linear layer is computed, from public quantities only: sizes, channels, kernel, width of the weights.
//!
//! Both parties plan for themselves and come to the same plan, so nothing about it is sent. The actual weights play no
//! part, neither in the cost nor in the noise bound: a choice that depended on them would tell about them.

use blindvox_engine::bfv::Params;
use blindvox_engine::bfv::noise::Budget;
use blindvox_models::{Linear, LinearKind, Program};
use blindvox_net::channel::CHUNK;

use super::encoding::{ConvShape, Encoding};
use super::search::Search;
use crate::error::{Error, Result};
use crate::pack::packed_len;
use crate::rates;

/// A linear layer as both parties know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinearSpec {
    /// For messages.
    pub name: String,
    /// The operation.
    pub kind: LinearKind,
    /// Input channels.
    pub inputs: usize,
    /// Output channels.
    pub outputs: usize,
    /// Depth, height, width of the input.
    pub size: [usize; 3],
    /// Weights are in [-2^(bits - 1), 2^(bits - 1)].
    pub weight_bits: u32,
}

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

// Blocks. In a matrix product of a block of tiles with a group of rows, an input is read for each group of rows, a weight
// written and read for each block of tiles, all from memory in large layers: both should be large, as far as memory allows.
/// Input ciphertexts of a block of tiles: 128 KiB each once expanded.
const BLOCK_INPUTS: usize = 4096;
/// Tiles of a block.
const BLOCK_TILES: usize = 32;
/// Weight polynomials that are transformed at a time, 64 KiB each. Those of a layer that has no more are kept between blocks.
const BLOCK_WEIGHTS: usize = 4096;
/// Products that are made at a time, 128 KiB each.
const BLOCK_PRODUCTS: usize = 1024;
/// Of these, as many are made into replies and sent before anything is received, at most: the replies, 13 MB, stay below what a
/// channel's queue holds.
const BLOCK_REPLIES: usize = 256;
/// As many, if fewer blocks of rows than [`ROW_BLOCKS`] would be left: one party works while the other one does.
const FEW_REPLIES: usize = 64;
const ROW_BLOCKS: usize = 4;

/// A layout and how it is cut into blocks.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Layout {
    pub(super) encoding: Encoding,
    block_tiles: usize,
    block_rows: usize,
}

impl Layout {
    pub(super) fn new(encoding: Encoding) -> Self {
        let most = (BLOCK_INPUTS / encoding.in_groups()).clamp(1, BLOCK_TILES);
        let block_tiles = encoding.tiles().div_ceil(encoding.tiles().div_ceil(most));
        let most = (BLOCK_REPLIES / block_tiles).min(encoding.out_groups() / ROW_BLOCKS);
        let rows = most.max(FEW_REPLIES / block_tiles);
        let rows = if encoding.is_scalar() { rows } else { rows.min(BLOCK_WEIGHTS / encoding.in_groups()) };
        let block_rows = rows.clamp(1, encoding.out_groups());
        Self { encoding, block_tiles, block_rows }
    }

    /// Whether transformed weights are kept from one block of tiles to the next.
    fn keeps_weights(&self) -> bool {
        let polynomials = self.encoding.in_groups() * self.encoding.out_groups();
        self.encoding.tiles() > self.block_tiles && polynomials <= BLOCK_WEIGHTS
    }

    /// All of the cost but the bytes of c0 that come down.
    fn cost_without_outputs(&self, params: &Params) -> Cost {
        let e = &self.encoding;
        let (groups, rows, tiles) = (e.in_groups(), e.out_groups(), e.tiles());
        let blocks = tiles.div_ceil(self.block_tiles);
        let bits = params.basis().modulus(0).bits();
        Cost {
            inputs: tiles * groups,
            replies: tiles * rows,
            products: tiles * groups * rows,
            weights: if e.is_scalar() { 0 } else { groups * rows * if self.keeps_weights() { 1 } else { blocks } },
            bytes_up: tiles * groups * input_bytes(params) + blocks * super::hom_conv::SEED_BYTES,
            bytes_down: tiles * rows * packed_len(params.n(), bits),
        }
    }

    /// Counts, and the exact bytes of the messages.
    pub(super) fn cost(&self, params: &Params) -> Cost {
        let mut cost = self.cost_without_outputs(params);
        let bits = params.basis().modulus(0).bits();
        let sizes = self.encoding.reply_sizes();
        cost.bytes_down += sizes.iter().map(|(outputs, times)| times * packed_len(*outputs, bits)).sum::<usize>();
        cost
    }

    /// A bound from below on the cost's nanoseconds, found quickly.
    pub(super) fn least_nanoseconds(&self, params: &Params) -> f64 {
        self.cost_without_outputs(params).nanoseconds()
    }
}

/// Bytes of one input ciphertext, without its seed.
fn input_bytes(params: &Params) -> usize {
    let basis = params.basis();
    (0..basis.len()).map(|l| packed_len(basis.n(), basis.modulus(l).bits())).sum()
}

/// How a layer is computed: everything that both parties must agree on.
#[derive(Clone, Debug)]
pub struct LinearPlan {
    spec: LinearSpec,
    params: Params,
    layout: Layout,
    budget: Budget,
}

impl LinearPlan {
    /// Plans a layer for [`Params::hom_conv`].
    ///
    /// # Errors
    /// [`Error::Model`] naming the layer, for sizes that make no sense and for noise that doesn't fit.
    pub fn new(spec: &LinearSpec) -> Result<Self> {
        Self::searched(spec, &mut Search::default())
    }

    /// The same as one layer of a network, whose layers share what a search may look at.
    ///
    /// # Errors
    /// As [`Self::new`], and [`Error::Model`] once nothing is left to search with.
    pub fn searched(spec: &LinearSpec, search: &mut Search) -> Result<Self> {
        let fault = |what: String| Error::Model(format!("layer {}: {what}", spec.name));
        if !(2..=20).contains(&spec.weight_bits) {
            return Err(fault(format!("weights of {} bits: must be in 2..=20", spec.weight_bits)));
        }
        let shape = spec.shape().map_err(fault)?;
        let (layout, budget) = search.best(&shape, spec.weight_bits).map_err(fault)?;
        Ok(Self { spec: spec.clone(), params: search.params().clone(), layout, budget })
    }

    /// With a given layout.
    #[cfg(test)]
    pub(super) fn of(spec: &LinearSpec, params: &Params, encoding: Encoding, budget: Budget) -> Self {
        Self { spec: spec.clone(), params: params.clone(), layout: Layout::new(encoding), budget }
    }

    /// With other blocks, so that tests have several at small sizes.
    #[cfg(test)]
    pub(super) fn with_blocks(self, block_tiles: usize, block_rows: usize) -> Self {
        let layout = Layout { block_tiles, block_rows, ..self.layout };
        Self { layout, ..self }
    }

    /// What is computed.
    pub fn spec(&self) -> &LinearSpec {
        &self.spec
    }

    /// The scheme's parameters.
    pub fn params(&self) -> &Params {
        &self.params
    }

    /// The layout of the convolution that runs under encryption.
    pub fn encoding(&self) -> &Encoding {
        &self.layout.encoding
    }

    /// Noise and flooding.
    pub fn budget(&self) -> &Budget {
        &self.budget
    }

    /// Coefficients of all replies that hold messages, which the client decrypts.
    pub fn sent_coefficients(&self) -> usize {
        self.encoding().reply_sizes().iter().map(|(outputs, times)| outputs * times).sum()
    }

    /// The statistical distance at which this layer's replies hide the weights: the sum over [`Self::sent_coefficients`].
    pub fn distance(&self) -> f64 {
        self.sent_coefficients() as f64 * self.budget.distance_bits.exp2()
    }

    /// Elements of the input.
    pub fn input_len(&self) -> usize {
        self.spec.inputs * self.spec.size.iter().product::<usize>()
    }

    /// Depth, height, width of the output.
    pub fn output_size(&self) -> [usize; 3] {
        self.spec.output_size()
    }

    /// Elements of the output.
    pub fn output_len(&self) -> usize {
        self.spec.outputs * self.output_size().iter().product::<usize>()
    }

    /// Elements of the weights.
    pub fn weights_len(&self) -> usize {
        self.spec.outputs * self.spec.inputs * self.spec.kind.volume()
    }

    /// Whether transformed weights are kept from one block of tiles to the next.
    pub(super) fn keeps_weights(&self) -> bool {
        self.layout.keeps_weights()
    }

    /// The tiles of each block, in order.
    pub(super) fn tile_blocks(&self) -> Vec<std::ops::Range<usize>> {
        ranges(self.encoding().tiles(), self.layout.block_tiles)
    }

    /// The output groups whose replies are made together.
    pub(super) fn row_blocks(&self) -> Vec<std::ops::Range<usize>> {
        ranges(self.encoding().out_groups(), self.layout.block_rows)
    }

    /// So many blocks of rows are multiplied together.
    pub(super) fn row_blocks_together(&self) -> usize {
        let Layout { encoding, block_tiles, block_rows } = &self.layout;
        let products = BLOCK_PRODUCTS / block_tiles;
        let weights = if encoding.is_scalar() { usize::MAX } else { BLOCK_WEIGHTS / encoding.in_groups() };
        (products.min(weights) / block_rows).max(1)
    }

    /// Bytes of one input ciphertext, without its seed.
    pub(super) fn input_bytes(&self) -> usize {
        input_bytes(&self.params)
    }

    /// Input ciphertexts of a message.
    pub(super) fn inputs_a_message(&self) -> usize {
        (CHUNK / 2 / self.input_bytes()).max(1)
    }

    /// Bytes of the reply for a tile and an output group: all of c1, and c0 where outputs are.
    pub(super) fn reply_bytes(&self, tile: usize, group: usize) -> usize {
        let bits = self.params.basis().modulus(0).bits();
        packed_len(self.params.n(), bits) + packed_len(self.encoding().output_count(tile, group), bits)
    }

    /// Counts, and the exact bytes of the messages.
    pub fn cost(&self) -> Cost {
        self.layout.cost(&self.params)
    }
}

impl LinearSpec {
    /// The public part of a program's linear step.
    pub fn of(program: &Program, linear: &Linear) -> Self {
        Self {
            name: linear.name.clone(),
            kind: linear.kind,
            inputs: linear.in_channels,
            outputs: linear.out_channels,
            size: program.tensors[linear.inputs[0]].dims,
            weight_bits: linear.weight_bits,
        }
    }

    /// The convolution that runs under encryption: a transposed one is a 1^3 convolution with an output channel for
    /// every position of the stride, and 1^3 convolutions need no geometry. Taps that meet nothing but padding are left
    /// out: beside a volume of `s` only 2s - 1 of them are of use, and more would fall together.
    fn shape(&self) -> std::result::Result<ConvShape, String> {
        let (kernel, outputs) = match self.kind {
            LinearKind::Conv { kernel, stride, padding } => {
                if self.kind != LinearKind::conv(kernel) {
                    let found = format!("kernel {kernel:?} with stride {stride:?} and padding {padding:?}");
                    return Err(format!("{found}: only stride 1 with a padding of half the kernel can be run yet"));
                }
                (kernel, Some(self.outputs))
            }
            LinearKind::Transposed2 { factor } => {
                ([1; 3], factor.iter().try_fold(self.outputs, |p, &f| p.checked_mul(f)))
            }
        };
        let [d, h, w] = self.size;
        let positions = d.checked_mul(h).and_then(|p| p.checked_mul(w)).filter(|p| *p < 1 << 40);
        let (Some(positions), Some(outputs)) = (positions, outputs.filter(|o| *o < 1 << 24)) else {
            return Err(format!("{} channels of {d}x{h}x{w} are too many", self.outputs));
        };
        if positions * self.inputs * outputs == 0 {
            return Err(format!("{} to {outputs} channels of {d}x{h}x{w}: none may be 0", self.inputs));
        }
        if kernel.iter().any(|k| k % 2 == 0 || *k > 63) {
            return Err(format!("kernel {kernel:?}: each size must be odd and at most 63"));
        }
        let kernel = cropped(kernel, self.size);
        let size = if kernel == [1; 3] { [1, 1, positions] } else { self.size };
        Ok(ConvShape { inputs: self.inputs, outputs, size, kernel })
    }

    /// Depth, height, width of the output.
    pub fn output_size(&self) -> [usize; 3] {
        self.kind.output_dims(self.size)
    }
}

/// The part of a kernel, around its centre, that reaches from one end of a volume to the other.
pub(super) fn cropped(kernel: [usize; 3], size: [usize; 3]) -> [usize; 3] {
    std::array::from_fn(|d| kernel[d].min(2 * size[d] - 1))
}

fn ranges(count: usize, step: usize) -> Vec<std::ops::Range<usize>> {
    (0..count).step_by(step).map(|first| first..(first + step).min(count)).collect()
}

#[cfg(test)]
mod tests {
    use blindvox_engine::bfv::noise;

    use super::*;

    fn conv(inputs: usize, outputs: usize, size: [usize; 3], kernel: [usize; 3]) -> LinearSpec {
        LinearSpec {
            name: "enc.0.2".to_owned(),
            kind: LinearKind::conv(kernel),
            inputs,
            outputs,
            size,
            weight_bits: 12,
        }
    }

    #[test]
    fn layers_of_a_large_network_fit() {
        for (inputs, outputs, side) in [(64, 64, 64), (128, 128, 32), (256, 256, 16), (512, 512, 8), (1024, 512, 8)] {
            let plan = LinearPlan::new(&conv(inputs, outputs, [side; 3], [3; 3])).unwrap();
            let e = plan.encoding();
            // Most of a product is neither halo nor left over.
            let tile: usize = e.tile().iter().product();
            let used = (tile * e.in_pack() * e.out_pack()) as f64 / 4096.0;
            assert!(used > 0.35, "{side}: {:?}, {} x {}: {used}", e.tile(), e.in_pack(), e.out_pack());
            assert!(plan.budget().distance_bits <= -noise::HIDING_BITS);
            assert!(plan.budget().need_bits < plan.budget().have_bits);
            assert_eq!(plan.sent_coefficients(), plan.output_len(), "each output is sent once");
        }
    }

    #[test]
    fn pointwise_layers_fill_their_polynomials() {
        let plan = LinearPlan::new(&conv(8, 3, [32, 48, 32], [1; 3])).unwrap();
        assert!(plan.encoding().is_scalar());
        assert_eq!((plan.cost().inputs, plan.cost().replies), (8 * 12, 3 * 12));
        let kind = LinearKind::Transposed2 { factor: [2; 3] };
        let plan = LinearPlan::new(&LinearSpec { kind, ..conv(16, 8, [16, 24, 16], [1; 3]) }).unwrap();
        assert_eq!((plan.cost().inputs, plan.cost().replies), (16 * 2, 64 * 2));
        assert_eq!(plan.output_size(), [32, 48, 32]);
    }

    fn strided(kernel: [usize; 3], stride: [usize; 3], padding: [usize; 3]) -> LinearKind {
        LinearKind::Conv { kernel, stride, padding }
    }

    #[test]
    fn what_does_not_fit_is_an_error_that_names_the_layer() {
        let wide = LinearSpec { weight_bits: 20, ..conv(1 << 16, 64, [8; 3], [5; 3]) };
        let refused = LinearPlan::new(&wide).unwrap_err();
        assert!(matches!(refused, Error::Model(_)));
        let text = refused.to_string();
        assert!(text.contains("enc.0.2") && text.contains("hides the weights"), "{text}");
        for bad in [
            conv(0, 1, [8; 3], [3; 3]),
            conv(1, 1, [8; 3], [2; 3]),
            conv(1, 1, [1 << 30; 3], [3; 3]),
            conv(1, 1, [0, 1, 1], [3; 3]),
            conv(1, 1, [64; 3], [63; 3]),
            LinearSpec { weight_bits: 40, ..conv(1, 1, [8; 3], [3; 3]) },
            LinearSpec { kind: strided([3; 3], [1, 2, 1], [1; 3]), ..conv(1, 1, [8; 3], [3; 3]) },
            LinearSpec { kind: strided([3; 3], [1; 3], [1, 1, 0]), ..conv(1, 1, [8; 3], [3; 3]) },
        ] {
            let text = LinearPlan::new(&bad).unwrap_err().to_string();
            assert!(text.contains("enc.0.2"), "{text}");
        }
    }
}
