//! How a linear layer is computed: everything that both parties must agree on.

use std::ops::Range;

use blindvox_engine::bfv::noise::Budget;
use blindvox_engine::bfv::{Params, packed_reply_len};
use blindvox_engine::poly::Places;
use blindvox_models::{Linear, LinearKind, Program};
use blindvox_net::channel::CHUNK;

use super::coefficients::{Encoding, Geometry, Search};
use super::layout::Layout;
use super::op::{ConvShape, LinearOp};
use super::planner::{Blocks, Cost, input_bytes};
use crate::error::{Error, Result};

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
    /// Depth, height, width of the output.
    pub output_size: [usize; 3],
    /// Weights are in [-2^(bits - 1), 2^(bits - 1)].
    pub weight_bits: u32,
}

/// How products of the encrypted input and the weights give the output.
#[derive(Clone, Debug, PartialEq)]
pub enum Method {
    /// Products of polynomials that hold several voxels, and several channels, as coefficients.
    Coefficients(Encoding),
    /// Weights are constants that whole ciphertexts are multiplied by: one channel a polynomial, no taps.
    Constants(Encoding),
}

/// A layer with its layouts, the way from one to the other, and what that costs.
#[derive(Clone, Debug)]
pub struct Plan {
    spec: LinearSpec,
    params: Params,
    method: Method,
    blocks: Blocks,
    bound: Budget,
    cost: Cost,
}

impl Plan {
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
        let geometry = spec.geometry().map_err(fault)?;
        let (encoding, bound) = search.best(&geometry, spec.weight_bits).map_err(fault)?;
        Ok(Self::of(spec, search.params(), encoding, bound))
    }

    /// With a given encoding.
    pub(super) fn of(spec: &LinearSpec, params: &Params, encoding: Encoding, bound: Budget) -> Self {
        let blocks = Blocks::new(&encoding);
        let cost = blocks.cost(&encoding, params);
        let method = if encoding.is_scalar() { Method::Constants(encoding) } else { Method::Coefficients(encoding) };
        Self { spec: spec.clone(), params: params.clone(), method, blocks, bound, cost }
    }

    /// With other blocks, so that tests have several at small sizes.
    #[cfg(test)]
    pub(super) fn with_blocks(self, tiles: usize, rows: usize) -> Self {
        let blocks = Blocks { tiles, rows };
        Self { cost: blocks.cost(self.encoding(), &self.params), blocks, ..self }
    }

    /// What is computed.
    pub fn spec(&self) -> &LinearSpec {
        &self.spec
    }

    /// The scheme's parameters.
    pub fn params(&self) -> &Params {
        &self.params
    }

    /// How it is computed.
    pub fn method(&self) -> &Method {
        &self.method
    }

    /// The encoding of the convolution that runs under encryption.
    pub fn encoding(&self) -> &Encoding {
        match &self.method {
            Method::Coefficients(encoding) | Method::Constants(encoding) => encoding,
        }
    }

    /// Noise and flooding.
    pub fn budget(&self) -> &Budget {
        &self.bound
    }

    /// Counts, and the exact bytes of the messages.
    pub fn cost(&self) -> Cost {
        self.cost
    }

    /// Dimensions of the input.
    pub fn input_shape(&self) -> [usize; 4] {
        let [d, h, w] = self.spec.size;
        [self.spec.inputs, d, h, w]
    }

    /// Dimensions of the output.
    pub fn output_shape(&self) -> [usize; 4] {
        let [d, h, w] = self.spec.output_size;
        [self.spec.outputs, d, h, w]
    }

    /// Where the input lies: polynomial `group tiles + tile`.
    ///
    /// # Errors
    /// None for a plan that fits in memory.
    pub fn input(&self) -> Result<Layout> {
        let e = self.encoding();
        self.input_part(&(0..e.tiles()), 0..e.tiles() * e.in_groups())
    }

    /// Where the output lies: polynomial `group tiles + tile`.
    ///
    /// # Errors
    /// None for a plan that fits in memory.
    pub fn output(&self) -> Result<Layout> {
        self.output_part(&(0..self.encoding().tiles()), &(0..self.encoding().out_groups()))
    }

    /// Where the input lies in ciphertexts `part` of a block of tiles.
    pub(super) fn input_part(&self, tiles: &Range<usize>, part: Range<usize>) -> Result<Layout> {
        let mut runs = Vec::new();
        for (polynomial, i) in part.clone().enumerate() {
            let (group, tile) = (i / tiles.len(), tiles.start + i % tiles.len());
            self.encoding().input_runs((tile, group), polynomial, &mut runs);
        }
        Ok(Layout::planned(&self.input_shape(), Places::new(self.params.n(), self.input_len(), part.len(), runs)?))
    }

    /// Where the output lies in the products of a block of tiles for output groups `rows`: every tile of the first
    /// group, then of the next.
    pub(super) fn output_part(&self, tiles: &Range<usize>, rows: &Range<usize>) -> Result<Layout> {
        let mut runs = Vec::new();
        for (polynomial, i) in (0..rows.len() * tiles.len()).enumerate() {
            let (group, tile) = (rows.start + i / tiles.len(), tiles.start + i % tiles.len());
            self.encoding().output_runs((tile, group), polynomial, &mut runs);
        }
        let polynomials = rows.len() * tiles.len();
        Ok(Layout::planned(&self.output_shape(), Places::new(self.params.n(), self.output_len(), polynomials, runs)?))
    }

    /// Coefficients of all replies that hold messages, which the client decrypts.
    pub fn sent_coefficients(&self) -> usize {
        self.encoding().reply_sizes().iter().map(|(outputs, times)| outputs * times).sum()
    }

    /// The statistical distance at which this layer's replies hide the weights: the sum over
    /// [`Self::sent_coefficients`].
    pub fn distance(&self) -> f64 {
        self.sent_coefficients() as f64 * self.bound.distance_bits.exp2()
    }

    /// Elements of the input.
    pub fn input_len(&self) -> usize {
        self.input_shape().iter().product()
    }

    /// Elements of the output.
    pub fn output_len(&self) -> usize {
        self.output_shape().iter().product()
    }

    /// Elements of the weights.
    pub fn weights_len(&self) -> usize {
        self.weights_shape().iter().product()
    }

    /// Dimensions of the weights: `[outputs, inputs, depth, height, width]`.
    pub fn weights_shape(&self) -> [usize; 5] {
        let [d, h, w] = self.spec.kind.taps();
        [self.spec.outputs, self.spec.inputs, d, h, w]
    }

    /// # Errors
    /// [`Error::Model`] for weights of another number and out of the planned range.
    pub(super) fn check_weights(&self, weights: &[i32]) -> Result<()> {
        let LinearSpec { name, weight_bits, .. } = &self.spec;
        if weights.len() != self.weights_len() {
            let (have, want) = (weights.len(), self.weights_len());
            return Err(Error::Model(format!("layer {name}: {have} weights where {want} were expected")));
        }
        let bits = weight_bits - 1;
        if weights.iter().any(|w| w.unsigned_abs() > 1 << bits) {
            return Err(Error::Model(format!("layer {name}: a weight is above 2^{bits} in magnitude")));
        }
        Ok(())
    }

    /// Whether transformed weights are kept from one block of tiles to the next.
    pub(super) fn keeps_weights(&self) -> bool {
        self.blocks.keep_weights(self.encoding())
    }

    /// The tiles of each block, in order.
    pub(super) fn tile_blocks(&self) -> Vec<Range<usize>> {
        ranges(self.encoding().tiles(), self.blocks.tiles)
    }

    /// The output groups whose replies are made together.
    pub(super) fn row_blocks(&self) -> Vec<Range<usize>> {
        ranges(self.encoding().out_groups(), self.blocks.rows)
    }

    /// So many blocks of rows are multiplied together.
    pub(super) fn row_blocks_together(&self) -> usize {
        self.blocks.rows_together(self.encoding())
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
        packed_reply_len(&self.params, self.encoding().output_count(tile, group))
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
            output_size: program.tensors[linear.output].dims,
            weight_bits: linear.weight_bits,
        }
    }

    /// The operation by definition.
    pub fn op(&self) -> LinearOp {
        let Self { inputs, outputs, size, output_size: output, .. } = *self;
        let shape = |kernel, stride, padding| ConvShape { inputs, outputs, size, output, kernel, stride, padding };
        match self.kind {
            LinearKind::Conv { kernel, stride, padding } => LinearOp::Conv(shape(kernel, stride, padding)),
            LinearKind::Transposed2 { factor } => LinearOp::Transposed(shape(factor, factor, [0; 3])),
        }
    }

    /// The convolution that runs under encryption.
    fn geometry(&self) -> std::result::Result<Geometry, String> {
        let [d, h, w] = self.size;
        let taps = self.kind.taps();
        let positions =
            |size: [usize; 3]| size.iter().try_fold(1usize, |p, &s| p.checked_mul(s)).filter(|p| *p < 1 << 40);
        // Phases are channels.
        let phases = match self.kind {
            LinearKind::Conv { kernel, stride, .. } => std::array::from_fn(|d| kernel[d].min(stride[d])),
            LinearKind::Transposed2 { factor } => factor,
        };
        let most = self.outputs.max(self.inputs);
        let channels = phases.iter().try_fold(most, |p, &f| p.checked_mul(f)).filter(|c| *c < 1 << 24);
        let (Some(_), Some(_), Some(_)) = (positions(self.size), positions(self.output_size), channels) else {
            return Err(format!(
                "{} to {} channels of {d}x{h}x{w} by {taps:?} taps are too many",
                self.inputs, self.outputs
            ));
        };
        if taps.iter().any(|k| !(1..=63).contains(k)) {
            return Err(format!("kernel {taps:?}: each size must be in 1..=63"));
        }
        let geometry = match self.op() {
            LinearOp::Conv(shape) => Geometry::conv(&shape),
            _ => Geometry::transposed(self.inputs, self.outputs, self.size, taps),
        };
        let geometry = geometry.filter(|_| self.kind.fits(self.size, self.output_size));
        geometry.ok_or_else(|| {
            let [a, b, c] = self.output_size;
            let Self { inputs, outputs, kind, .. } = self;
            format!(
                "{kind:?} from {inputs} channels of {d}x{h}x{w} to {outputs} of {a}x{b}x{c}: there is no such layer"
            )
        })
    }
}

fn ranges(count: usize, step: usize) -> Vec<std::ops::Range<usize>> {
    (0..count).step_by(step).map(|first| first..(first + step).min(count)).collect()
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
