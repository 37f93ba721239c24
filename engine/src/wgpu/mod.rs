//! The GPU backend: WGSL kernels through wgpu on a Vulkan adapter, a software one included.
//!
//! | module | what |
//! |---|---|
//! | `adapter` | which adapters there are, how one is chosen |
//! | `instance` | the way to the drivers, one a process |
//! | `context`, `upload`, `download` | the open device: recording, copies, errors |
//! | `buffer`, `pool`, `pipeline` | memory and compiled kernels, kept |
//! | `tables` | primes and bases on the device |
//! | `probe` | measured limits of the adapter |
//! | `garble` | half-gates over many instances, labels and tables resident |
//! | `pointwise`, `add_lifted`, `ntt`, `gemm`, `rns`, `reduce`, `automorphism` | one a kernel file of the same name: windows, parameters, workgroups |
//!
//! Residues are `[batch, limbs, n]` pairs (lo, hi) of u32, 64 bits little-endian, in both domains: neighbouring lanes
//! are neighbouring points, so every kernel reads and writes contiguously and needs no other layout. A kernel sees at
//! most one binding's worth of a buffer; longer batches are split into windows of whole polynomials.

pub(crate) mod adapter;
mod add_lifted;
mod automorphism;
mod buffer;
mod context;
mod download;
mod drivers;
mod garble;
mod gemm;
mod instance;
mod lock;
mod ntt;
mod pipeline;
mod pointwise;
mod pool;
mod probe;
mod reduce;
mod rns;
mod tables;
mod upload;

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

pub(crate) use buffer::GpuBuffer;
use rayon::prelude::*;
pub(crate) use tables::GpuTables;

use self::context::{Context, Window};
use self::tables::Tables;
use crate::backend::adapters::{GpuOptions, Rates};
use crate::backend::{
    Backend, DeviceKind, Domain, GaloisMaps, GemmShape, Integers, Lift, Limbs, Memory, MulShape, Pointwise, Product,
    Rns, Run, Shape, TableUse, Transform,
};
use crate::error::{Error, Result};
use crate::ring::ntt_table::Factor;
use crate::ring::sampler::{PublicSeed, uniform_poly};
use crate::ring::{Basis, Galois};

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
pub(crate) struct Wgpu {
    context: Arc<Context>,
    tables: Tables,
    /// Constants by the bases they lead from and to.
    conversions: Mutex<HashMap<(Basis, Basis), Arc<GpuBuffer>>>,
}

impl Wgpu {
    /// Opens the adapter that the options ask for.
    pub(crate) fn open(options: &GpuOptions) -> Result<Self> {
        let context = Arc::new(Context::open(options)?);
        Ok(Self { context, tables: Tables::default(), conversions: Mutex::default() })
    }

    fn zeros_of(&self, shape: Shape) -> Result<GpuBuffer> {
        GpuBuffer::zeros(&self.context, shape.words() * WORD)
    }

    fn copy_limbs(&self, shape: Shape, from: &Limbs<'_, GpuBuffer>) -> Result<GpuBuffer> {
        let (copy, row) = (self.zeros_of(shape)?, shape.n * WORD);
        for run in runs(from.map) {
            for poly in 0..shape.batch {
                let rows = part(from.buffer, row, poly * from.limbs + from.map[run.start], run.len());
                self.context.copy(rows, copy.raw(), (poly * shape.limbs + run.start) * row);
            }
        }
        Ok(copy)
    }

    /// Polynomials of `poly_bytes` that one window holds, at least one.
    fn window_polys(&self, poly_bytes: usize) -> Result<usize> {
        let limit = self.context.limits.max_storage_buffer_binding_size as usize;
        match limit / poly_bytes {
            0 => Err(Error::TooLarge { what: "a polynomial".to_owned(), bytes: poly_bytes, limit }),
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
    Window { buffer: buffer.raw(), offset: 0, bytes: buffer.bytes() }
}

/// Polynomials `first..first + count` of a buffer of `poly_bytes` each.
fn part(buffer: &GpuBuffer, poly_bytes: usize, first: usize, count: usize) -> Window<'_> {
    Window { buffer: buffer.raw(), offset: first * poly_bytes, bytes: count * poly_bytes }
}

/// The ranges of a map whose limbs follow each other.
fn runs(map: &[usize]) -> impl Iterator<Item = Range<usize>> {
    let mut first = 0;
    std::iter::from_fn(move || {
        let rest = map.get(first..).filter(|rest| !rest.is_empty())?;
        let len = 1 + rest.windows(2).take_while(|pair| pair[1] == pair[0] + 1).count();
        first += len;
        Some(first - len..first)
    })
}

fn words(f: Factor) -> [u32; 4] {
    [f.value as u32, (f.value >> 32) as u32, f.shoup as u32, (f.shoup >> 32) as u32]
}

impl Memory for Wgpu {
    type Buffer = GpuBuffer;
    type Tables = GpuTables;

    fn tables(&self, basis: &Basis) -> Result<GpuTables> {
        if !self.tables.know(basis.n()) {
            self.compile_ahead(basis.n());
        }
        self.tables.of(&self.context, basis)
    }

    fn table_use(&self) -> TableUse {
        self.tables.used()
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
        self.context.copy(whole(buffer), copy.raw(), 0);
        Ok(copy)
    }

    fn extract(&self, _: &GpuTables, shape: Shape, buffer: &GpuBuffer, range: Range<usize>) -> Result<GpuBuffer> {
        let poly = shape.limbs * shape.n * WORD;
        let copy = GpuBuffer::zeros(&self.context, range.len() * poly)?;
        self.context.copy(part(buffer, poly, range.start, range.len()), copy.raw(), 0);
        Ok(copy)
    }

    fn limbs(&self, _: &GpuTables, shape: Shape, _: Domain, from: Limbs<'_, GpuBuffer>) -> Result<GpuBuffer> {
        self.copy_limbs(shape, &from)
    }

    fn stack(
        &self,
        _: &GpuTables,
        shape: Shape,
        _: Domain,
        parts: &[&GpuBuffer],
        counts: &[usize],
    ) -> Result<GpuBuffer> {
        let (out, poly) = (self.zeros_of(shape)?, shape.limbs * shape.n * WORD);
        let mut first = 0;
        for (buffer, &count) in parts.iter().zip(counts) {
            self.context.copy(part(buffer, poly, 0, count), out.raw(), first * poly);
            first += count;
        }
        Ok(out)
    }
}

impl Lift for Wgpu {
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

    fn reduce(&self, t: &GpuTables, shape: Shape, values: Integers<'_>) -> Result<GpuBuffer> {
        self.run_reduce(t, shape, values)
    }
}

impl Transform for Wgpu {
    fn ntt_forward(&self, t: &GpuTables, shape: Shape, buffer: GpuBuffer) -> Result<GpuBuffer> {
        self.run_ntt_forward(t, shape, &buffer)?;
        Ok(buffer)
    }

    fn ntt_inverse(&self, t: &GpuTables, shape: Shape, buffer: GpuBuffer) -> Result<GpuBuffer> {
        self.run_ntt_inverse(t, shape, &buffer)?;
        Ok(buffer)
    }

    fn ntt_inverse_of_product(&self, t: &GpuTables, size: MulShape, a: GpuBuffer, b: &GpuBuffer) -> Result<GpuBuffer> {
        self.run_ntt_inverse_of_product(t, size, &a, b)?;
        Ok(a)
    }

    fn ntt_forward_mul_add(
        &self,
        t: &GpuTables,
        size: MulShape,
        x: GpuBuffer,
        sums: [&mut GpuBuffer; 2],
        factors: [&GpuBuffer; 2],
    ) -> Result<()> {
        self.run_ntt_forward_mul_add(t, size, &x, sums.map(|sum| &*sum), factors)
    }
}

impl Pointwise for Wgpu {
    fn add_assign(&self, t: &GpuTables, shape: Shape, a: &mut GpuBuffer, b: &GpuBuffer) -> Result<()> {
        self.run_pointwise(blindvox_shaders::ADD, t, MulShape::each(shape), a, &[b])
    }

    fn sub_assign(&self, t: &GpuTables, shape: Shape, a: &mut GpuBuffer, b: &GpuBuffer) -> Result<()> {
        self.run_pointwise(blindvox_shaders::SUB, t, MulShape::each(shape), a, &[b])
    }

    fn negate_assign(&self, t: &GpuTables, shape: Shape, a: &mut GpuBuffer) -> Result<()> {
        self.run_pointwise(blindvox_shaders::NEGATE, t, MulShape::each(shape), a, &[])
    }

    fn mul_assign(&self, t: &GpuTables, size: MulShape, a: &mut GpuBuffer, b: &GpuBuffer) -> Result<()> {
        self.run_pointwise(blindvox_shaders::MUL, t, size, a, &[b])
    }

    fn mul_add_assign(
        &self,
        t: &GpuTables,
        size: MulShape,
        acc: &mut GpuBuffer,
        a: &GpuBuffer,
        b: &GpuBuffer,
    ) -> Result<()> {
        self.run_pointwise(blindvox_shaders::MUL_ADD, t, size, acc, &[a, b])
    }

    fn mul_scalar_assign(&self, t: &GpuTables, shape: Shape, a: &mut GpuBuffer, scalars: &[u64]) -> Result<()> {
        self.run_mul_scalar(t, shape, a, scalars)
    }
}

impl Product for Wgpu {
    fn gemm(
        &self,
        t: &GpuTables,
        size: GemmShape,
        w: Limbs<'_, GpuBuffer>,
        x: &[&GpuBuffer],
    ) -> Result<Vec<GpuBuffer>> {
        x.iter().map(|x| self.run_gemm(t, size, &w, x)).collect()
    }

    fn gemm_constants(
        &self,
        t: &GpuTables,
        _: &Basis,
        size: GemmShape,
        w: &[i32],
        x: &[&GpuBuffer],
    ) -> Result<Vec<GpuBuffer>> {
        self.run_gemm_constants(t, size, w, x)
    }
}

impl Rns for Wgpu {
    fn mod_up(&self, t: &GpuTables, to: &GpuTables, shape: Shape, from: Limbs<'_, GpuBuffer>) -> Result<GpuBuffer> {
        self.run_mod_up(t, to, shape, &from)
    }

    fn mod_down(&self, t: &GpuTables, shape: Shape, kept: usize, buffer: GpuBuffer) -> Result<GpuBuffer> {
        self.run_mod_down(t, shape, kept, &buffer)
    }
}

impl GaloisMaps for Wgpu {
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

impl Run for Wgpu {}

impl Backend for Wgpu {
    fn describe(&self) -> String {
        self.context.name().to_owned()
    }

    fn kind(&self) -> DeviceKind {
        if self.context.software { DeviceKind::SoftwareGpu } else { DeviceKind::Gpu }
    }

    fn synchronize(&self) -> Result<()> {
        self.context.synchronize()
    }

    fn rates(&self) -> Result<Rates> {
        Ok(Rates { words_copied: self.copy_rate()?, multiply_adds: self.multiply_rate()? })
    }

    fn keep_busy(&self, time: Duration) -> Result<()> {
        let start = Instant::now();
        while start.elapsed() < time {
            self.multiply_rate()?;
        }
        Ok(())
    }
}
