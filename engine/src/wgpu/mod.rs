//! The GPU backend: WGSL kernels through wgpu on a Vulkan adapter, a software one included.
//!
//! | module | what |
//! |---|---|
//! | [`adapter`] | which adapters there are, how one is chosen |
//! | `instance` | the way to the drivers, one a process |
//! | `context`, `upload`, `download` | the open device: recording, copies, errors |
//! | `pool`, `pipeline` | memory and compiled kernels, kept |
//! | [`probe`] | measured limits of the adapter |
//! | [`garble`] | half-gates over many instances, labels and tables resident |
//! | `pointwise`, `add_lifted`, `ntt`, `gemm`, `drop_last_limb`, `automorphism` | one a kernel file of the same name: windows, parameters, workgroups |
//!
//! Residues are `[batch, limbs, n]` pairs (lo, hi) of u32, 64 bits little-endian, in both domains: neighbouring lanes are
//! neighbouring points, so every kernel reads and writes contiguously and needs no other layout.
//! A kernel sees at most one binding's worth of a buffer; longer batches are split into windows of whole polynomials.

pub mod adapter;
mod add_lifted;
mod automorphism;
mod context;
mod download;
mod drivers;
mod drop_last_limb;
pub mod garble;
mod gemm;
mod instance;
mod ntt;
mod pipeline;
mod pointwise;
mod pool;
pub mod probe;
mod upload;

use std::ops::Range;
use std::sync::Arc;

pub use adapter::{AdapterReport, GpuOptions, Word, adapters, why_no_gpu};
pub use garble::{GateBatch, GateBatchSize, PendingColours, PendingTables};
pub use pool::GpuBuffer;
pub use probe::Rates;
use rayon::prelude::*;

use self::context::{Context, Window};
use crate::backend::{Backend, Domain, GemmShape, Shape};
use crate::error::{Error, Result};
use crate::ring::ntt_table::Factor;
use crate::ring::sampler::{PublicSeed, uniform_poly};
use crate::ring::{Galois, Modulus, RnsBasis};

/// Bytes of a residue.
const WORD: usize = 8;
/// Rows of workgroups a dispatch, below the limit of 65535 a dimension.
const ROWS_A_DISPATCH: usize = 32_768;
/// Lanes of the workgroups of all kernels but the transforms.
const LANES: usize = 64;
/// Uniform residues that are expanded at a time, bytes.
const UNIFORM_BYTES: usize = 16 << 20;
/// The smallest ring dimension: 16 points a lane.
const MIN_N: usize = 1024;

/// An open adapter.
pub struct Wgpu {
    context: Arc<Context>,
}

/// The constants of a basis on the device.
pub struct GpuTables {
    basis: RnsBasis,
    /// Eight words a limb, as `modulus.wgsl` says.
    moduli: GpuBuffer,
    /// `[limbs, n]` factors with companions.
    forward: GpuBuffer,
    inverse: GpuBuffer,
}

impl GpuTables {
    fn moduli(&self) -> Window<'_> {
        whole(&self.moduli)
    }
}

impl Wgpu {
    /// Opens the adapter that the options ask for.
    pub fn open(options: &GpuOptions) -> Result<Self> {
        Ok(Self { context: Arc::new(Context::open(options)?) })
    }

    /// Whether shaders run on the CPU.
    pub fn is_software(&self) -> bool {
        self.context.software
    }

    fn zeros_of(&self, shape: Shape) -> Result<GpuBuffer> {
        GpuBuffer::zeros(&self.context, shape.words() * WORD)
    }

    /// Polynomials of `poly_bytes` that one window holds, at least one.
    fn window_polys(&self, poly_bytes: usize) -> Result<usize> {
        let limit = self.context.limits.max_storage_buffer_binding_size as usize;
        match limit / poly_bytes {
            0 => Err(Error::Device(format!("a polynomial of {poly_bytes} bytes is above the window limit {limit}"))),
            polys => Ok(polys),
        }
    }

    /// `(first, count)` of whole polynomials that cover the batch.
    fn windows(&self, shape: Shape) -> Result<impl Iterator<Item = (usize, usize)> + use<>> {
        let rows = ROWS_A_DISPATCH / shape.limbs;
        let most = self.window_polys(shape.limbs * shape.n * WORD)?.min(rows.max(1));
        Ok((0..shape.batch).step_by(most).map(move |first| (first, most.min(shape.batch - first))))
    }
}

fn whole(buffer: &GpuBuffer) -> Window<'_> {
    Window { buffer, offset: 0, bytes: buffer.bytes() }
}

/// Polynomials `first..first + count` of a buffer of `poly_bytes` each.
fn part(buffer: &GpuBuffer, poly_bytes: usize, first: usize, count: usize) -> Window<'_> {
    Window { buffer, offset: first * poly_bytes, bytes: count * poly_bytes }
}

fn words(f: Factor) -> [u32; 4] {
    [f.value as u32, (f.value >> 32) as u32, f.shoup as u32, (f.shoup >> 32) as u32]
}

/// The table of `modulus.wgsl`.
fn moduli_table(basis: &RnsBasis) -> Vec<u64> {
    let last = basis.modulus(basis.len() - 1).value();
    let entry = |limb: usize| {
        let q = basis.modulus(limb);
        let ratio = u128::MAX / u128::from(q.value());
        let n_inv = basis.tables()[limb].n_inv();
        let last_inv = if limb + 1 == basis.len() { 0 } else { q.inv(q.reduce(last)) };
        let (split, block) = lazy_sums(q);
        let lazy = u64::from(split) | u64::from(block) << 32;
        [q.value(), ratio as u64, (ratio >> 64) as u64, n_inv.value, n_inv.shoup, last_inv, q.shoup(last_inv), lazy]
    };
    (0..basis.len()).flat_map(entry).collect()
}

/// How `gemm.wgsl` splits residues, bits, and how many products it sums before it folds.
fn lazy_sums(q: Modulus) -> (u32, u32) {
    let split = q.bits().div_ceil(2);
    (split, 1 << (63 - 2 * split).min(30))
}

impl Backend for Wgpu {
    type Buffer = GpuBuffer;
    type Tables = GpuTables;

    fn describe(&self) -> String {
        self.context.name().to_owned()
    }

    fn tables(&self, basis: &RnsBasis) -> Result<GpuTables> {
        if basis.n() < MIN_N {
            return Err(Error::Parameters(format!("n = {}: the GPU backend needs at least {MIN_N}", basis.n())));
        }
        self.compile_ahead(basis.n());
        let upload = |factors: &dyn Fn(&crate::ring::NttTable) -> Vec<Factor>| {
            let by_lane = |t| ntt::by_lane(&factors(t));
            let table: Vec<[u32; 4]> = basis.tables().iter().flat_map(by_lane).map(words).collect();
            GpuBuffer::upload(&self.context, bytemuck::cast_slice(&table))
        };
        Ok(GpuTables {
            basis: basis.clone(),
            moduli: GpuBuffer::upload(&self.context, bytemuck::cast_slice(&moduli_table(basis)))?,
            forward: upload(&|t| t.forward_factors().to_vec())?,
            // Number 0 belongs to no node: the last stage's root times n^-1.
            inverse: upload(&|t| {
                let mut factors = t.inverse_factors().to_vec();
                let last = t.modulus().mul(factors[1].value, t.n_inv().value);
                factors[0] = Factor { value: last, shoup: t.modulus().shoup(last) };
                factors
            })?,
        })
    }

    fn upload(&self, _: &GpuTables, _: Shape, _: Domain, host: &[u64]) -> Result<GpuBuffer> {
        GpuBuffer::upload(&self.context, bytemuck::cast_slice(host))
    }

    fn download(&self, _: &GpuTables, shape: Shape, _: Domain, buffer: &GpuBuffer) -> Result<Vec<u64>> {
        let mut out = vec![0; shape.words()];
        self.context.download(buffer, 0, bytemuck::cast_slice_mut(&mut out))?;
        Ok(out)
    }

    fn zeros(&self, _: &GpuTables, shape: Shape) -> Result<GpuBuffer> {
        self.zeros_of(shape)
    }

    fn duplicate(&self, buffer: &GpuBuffer) -> Result<GpuBuffer> {
        let copy = GpuBuffer::zeros(&self.context, buffer.bytes())?;
        self.context.copy(whole(buffer), &copy);
        Ok(copy)
    }

    fn add_lifted(
        &self,
        t: &GpuTables,
        shape: Shape,
        acc: &mut GpuBuffer,
        values: &[i32],
        scale: &[u64],
    ) -> Result<()> {
        self.run_add_lifted(t, shape, acc, values, scale)
    }

    /// Expanded by the CPU, whose AES instructions shaders lack; a part is uploaded while the next is expanded.
    fn expand_uniform(&self, t: &GpuTables, shape: Shape, seed: &PublicSeed, first: u32) -> Result<GpuBuffer> {
        let out = self.zeros_of(shape)?;
        let rows = (UNIFORM_BYTES / (shape.n * WORD)).max(1);
        let mut words = vec![0; rows.min(shape.batch * shape.limbs) * shape.n];
        for (i, from) in (0..shape.batch * shape.limbs).step_by(rows).enumerate() {
            let words = &mut words[..rows.min(shape.batch * shape.limbs - from) * shape.n];
            words.par_chunks_exact_mut(shape.n).enumerate().for_each(|(row, out)| {
                let (poly, limb) = ((from + row) / shape.limbs, (from + row) % shape.limbs);
                uniform_poly(seed, t.basis.modulus(limb), first + poly as u32, limb as u32, out);
            });
            self.context.upload(&out, i * rows * shape.n * WORD, bytemuck::cast_slice(words))?;
        }
        Ok(out)
    }

    fn ntt_forward(&self, t: &GpuTables, shape: Shape, buffer: GpuBuffer) -> Result<GpuBuffer> {
        self.run_ntt_forward(t, shape, &buffer)?;
        Ok(buffer)
    }

    fn extract(&self, _: &GpuTables, shape: Shape, buffer: &GpuBuffer, range: Range<usize>) -> Result<GpuBuffer> {
        let poly = shape.limbs * shape.n * WORD;
        let copy = GpuBuffer::zeros(&self.context, range.len() * poly)?;
        self.context.copy(part(buffer, poly, range.start, range.len()), &copy);
        Ok(copy)
    }

    fn ntt_inverse(&self, t: &GpuTables, shape: Shape, buffer: GpuBuffer) -> Result<GpuBuffer> {
        self.run_ntt_inverse(t, shape, &buffer)?;
        Ok(buffer)
    }

    fn ntt_inverse_of_product(
        &self,
        t: &GpuTables,
        shape: Shape,
        a: GpuBuffer,
        b: &GpuBuffer,
        b_batch: usize,
    ) -> Result<GpuBuffer> {
        self.run_ntt_inverse_of_product(t, shape, &a, b, b_batch)?;
        Ok(a)
    }

    fn ntt_forward_mul_add(
        &self,
        t: &GpuTables,
        shape: Shape,
        x: GpuBuffer,
        sums: [&mut GpuBuffer; 2],
        factors: [&GpuBuffer; 2],
        factor_batch: usize,
    ) -> Result<()> {
        self.run_ntt_forward_mul_add(t, shape, &x, sums.map(|sum| &*sum), factors, factor_batch)
    }

    fn add_assign(&self, t: &GpuTables, shape: Shape, a: &mut GpuBuffer, b: &GpuBuffer) -> Result<()> {
        self.run_pointwise(blindvox_shaders::ADD, t, shape, a, &[b], shape.batch)
    }

    fn sub_assign(&self, t: &GpuTables, shape: Shape, a: &mut GpuBuffer, b: &GpuBuffer) -> Result<()> {
        self.run_pointwise(blindvox_shaders::SUB, t, shape, a, &[b], shape.batch)
    }

    fn negate_assign(&self, t: &GpuTables, shape: Shape, a: &mut GpuBuffer) -> Result<()> {
        self.run_pointwise(blindvox_shaders::NEGATE, t, shape, a, &[], shape.batch)
    }

    fn mul_assign(&self, t: &GpuTables, shape: Shape, a: &mut GpuBuffer, b: &GpuBuffer, b_batch: usize) -> Result<()> {
        self.run_pointwise(blindvox_shaders::MUL, t, shape, a, &[b], b_batch)
    }

    fn mul_add_assign(
        &self,
        t: &GpuTables,
        shape: Shape,
        acc: &mut GpuBuffer,
        a: &GpuBuffer,
        b: &GpuBuffer,
        b_batch: usize,
    ) -> Result<()> {
        self.run_pointwise(blindvox_shaders::MUL_ADD, t, shape, acc, &[a, b], b_batch)
    }

    fn mul_scalar_assign(&self, t: &GpuTables, shape: Shape, a: &mut GpuBuffer, scalars: &[u64]) -> Result<()> {
        self.run_mul_scalar(t, shape, a, scalars)
    }

    fn gemm(
        &self,
        t: &GpuTables,
        limbs: usize,
        size: GemmShape,
        w: &GpuBuffer,
        x: &[&GpuBuffer],
    ) -> Result<Vec<GpuBuffer>> {
        x.iter().map(|x| self.run_gemm(t, limbs, size, w, x)).collect()
    }

    fn gemm_constants(
        &self,
        t: &GpuTables,
        _: &RnsBasis,
        size: GemmShape,
        w: &[i32],
        x: &[&GpuBuffer],
    ) -> Result<Vec<GpuBuffer>> {
        self.run_gemm_constants(t, size, w, x)
    }

    fn drop_last_limb(&self, t: &GpuTables, shape: Shape, buffer: GpuBuffer) -> Result<GpuBuffer> {
        self.run_drop_last_limb(t, shape, &buffer)
    }

    fn automorphism(
        &self,
        t: &GpuTables,
        shape: Shape,
        domain: Domain,
        buffer: &GpuBuffer,
        galois: Galois,
    ) -> Result<GpuBuffer> {
        self.run_automorphism(t, shape, domain, buffer, galois)
    }
}
