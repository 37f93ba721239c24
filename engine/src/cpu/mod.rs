//! The CPU backend: every kernel runs over its batch on the rayon pool.
//!
//! | module | what |
//! |---|---|
//! | [`scalar`] | the definition of each kernel on one row |
//! | [`body`] | the code paths, chosen once at run time |
//! | `tables` | what each prime needs on one of them |
//! | `buffer`, `panels` | residues in memory; the layout of NTT-domain data |
//! | `groups`, `to_panels` | rows of neighbouring polynomials to panels and back |
//! | `limb` | the kernels of one prime on one body |
//! | `transform` | batches between coefficients and points, in panels or in rows |
//! | `rns`, `points` | conversions between bases, of integers to residues; the same of points |
//! | `chain` | chains, item by item |
//! | `mirrored` | sums of products with real plaintexts |
//! | `ifma`, `dq` | arithmetic on AVX-512 registers, for primes up to 50 and 60 bits |
//! | `twiddles`, `transform512`, `rows512`, `vec512` | the transforms and row kernels over either |
//! | `avx2`, `rows256` | the transforms and the other kernels on AVX2 registers |
//! | `pointwise`, `galois` | residue by residue; automorphisms |
//! | `garble` | rooms of gates |
//! | `gemm`, `gemm_ifma`, `gemm_dq` | the matrix product at each frequency |

pub(crate) mod body;
mod buffer;
mod chain;
mod galois;
mod garble;
mod gemm;
mod groups;
mod limb;
mod mirrored;
mod panels;
mod points;
mod pointwise;
mod rns;
pub(crate) mod scalar;
pub(crate) mod tables;
mod to_panels;
mod transform;

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod dq;
#[cfg(target_arch = "x86_64")]
mod gemm_dq;
#[cfg(target_arch = "x86_64")]
mod gemm_ifma;
#[cfg(target_arch = "x86_64")]
mod ifma;
#[cfg(target_arch = "x86_64")]
mod rows256;
#[cfg(target_arch = "x86_64")]
mod rows512;
#[cfg(target_arch = "x86_64")]
mod transform512;
#[cfg(target_arch = "x86_64")]
mod twiddles;
#[cfg(target_arch = "x86_64")]
mod vec512;

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, Mutex};

use rayon::prelude::*;

use crate::backend::recorded::{Items, Recorded};
use crate::backend::{
    Backend, DeviceKind, Domain, GemmShape, InDigits, Integers, Lift, Limbs, Memory, MirroredSums, Product, Ran, Rns,
    Run, Shape, TableUse,
};
use crate::error::Result;
use crate::ring::sampler::{PublicSeed, uniform_poly};
use crate::ring::{Basis, Conversion, Prime};

pub use body::Body;
pub(crate) use buffer::CpuBuffer;
use buffer::Layout;
use gemm::{Panel, Side};
use limb::Limb;
use panels::{PanelView, exchange};
pub(crate) use tables::CpuTables;
pub(crate) use tables::RowTransform;
use to_panels::{SERIAL_WORDS, rows_to_panels};

/// For each place, the place it is read from.
type Image = Arc<Vec<u32>>;

/// The processor this runs on.
pub(crate) struct Cpu {
    body: Body,
    /// Every prime that was ever used, with its kernels.
    limbs: Mutex<HashMap<Prime, Arc<Limb>>>,
    /// Constants by the bases they lead from and to.
    conversions: Mutex<HashMap<(Basis, Basis), Arc<Conversion>>>,
    /// Where the points of an automorphism's image come from, by dimension and element.
    images: Mutex<HashMap<(usize, u32), Image>>,
    /// What mirrored polynomials take of every prime that was used for them.
    halves: Mutex<HashMap<Prime, Arc<mirrored::Half>>>,
}

impl Default for Cpu {
    fn default() -> Self {
        Self {
            body: Body::best(),
            limbs: Mutex::default(),
            conversions: Mutex::default(),
            images: Mutex::default(),
            halves: Mutex::default(),
        }
    }
}

impl Cpu {
    /// With a code path of one's choice, for tests and benchmarks; an error if the processor lacks it.
    pub(crate) fn with_body(body: Body) -> Result<Self> {
        Ok(Self { body: body.check()?, ..Self::default() })
    }
}

/// Calls `f(i, chunk i)` for every chunk of `size` words, in parallel if there are many.
fn for_each_chunk(words: &mut [u64], size: usize, f: impl Fn(usize, &mut [u64]) + Send + Sync) {
    if words.len() <= SERIAL_WORDS {
        words.chunks_mut(size).enumerate().for_each(|(i, c)| f(i, c));
    } else {
        words.par_chunks_mut(size).enumerate().for_each(|(i, c)| f(i, c));
    }
}

/// The layout of a result of operands that must agree unless one is zero.
fn common(a: Layout, b: Layout) -> Layout {
    if a == Layout::Zero {
        return b;
    }
    assert!(b == Layout::Zero || a == b, "operands are in different domains");
    a
}

impl Memory for Cpu {
    type Buffer = CpuBuffer;
    type Tables = CpuTables;

    fn tables(&self, basis: &Basis) -> Result<CpuTables> {
        let mut known = self.limbs.lock().unwrap_or_else(|e| e.into_inner());
        let limb = |q: &Prime| known.entry(q.clone()).or_insert_with(|| Arc::new(Limb::new(self.body, q))).clone();
        Ok(CpuTables { n: basis.n(), basis: basis.clone(), limbs: basis.primes().iter().map(limb).collect() })
    }

    fn table_use(&self) -> TableUse {
        let known = self.limbs.lock().unwrap_or_else(|e| e.into_inner());
        TableUse { primes: known.len(), bytes: known.values().map(|limb| limb.bytes()).sum() }
    }

    fn upload(&self, _: &CpuTables, shape: Shape, domain: Domain, host: &[u64]) -> Result<CpuBuffer> {
        if domain == Domain::Ntt {
            return Ok(rows_to_panels(shape, |row, out| out.copy_from_slice(&host[row * shape.n..][..shape.n])));
        }
        let mut out = CpuBuffer::new(host.len(), Layout::Rows);
        for_each_chunk(out.words_mut(), shape.n, |row, out| {
            out.copy_from_slice(&host[row * shape.n..][..shape.n]);
            if domain == Domain::Rows {
                exchange(out);
            }
        });
        Ok(out)
    }

    fn download(&self, _: &CpuTables, shape: Shape, domain: Domain, buffer: &CpuBuffer) -> Result<Vec<u64>> {
        if buffer.layout != Layout::Panels {
            let mut out = buffer.words().to_vec();
            if domain == Domain::Rows {
                for_each_chunk(&mut out, shape.n, |_, row| exchange(row));
            }
            return Ok(out);
        }
        let mut out = vec![0; shape.words()];
        for_each_chunk(&mut out, shape.n, |row, out| {
            PanelView::row(buffer.words(), shape, row / shape.limbs, row % shape.limbs).read(out);
        });
        Ok(out)
    }

    fn zeros(&self, _: &CpuTables, shape: Shape) -> Result<CpuBuffer> {
        Ok(CpuBuffer::zeros(shape.words()))
    }

    fn duplicate(&self, buffer: &CpuBuffer) -> Result<CpuBuffer> {
        Ok(buffer.clone())
    }

    fn extract(&self, _: &CpuTables, shape: Shape, buffer: &CpuBuffer, range: Range<usize>) -> Result<CpuBuffer> {
        let (width, size) = (groups::width(shape.n), shape.limbs * shape.n);
        let mut out = CpuBuffer::new(range.len() * size, buffer.layout);
        if buffer.layout == Layout::Rows {
            out.words_mut().copy_from_slice(&buffer.words()[range.start * size..range.end * size]);
            return Ok(out);
        }
        let lines = out.words_mut().chunks_exact_mut(range.len() * width);
        for (to, panel) in lines.zip(buffer.words().chunks_exact(shape.batch * width)) {
            to.copy_from_slice(&panel[range.start * width..range.end * width]);
        }
        Ok(out)
    }

    fn limbs(&self, _: &CpuTables, shape: Shape, _: Domain, from: Limbs<'_, CpuBuffer>) -> Result<CpuBuffer> {
        let (n, layout, words) = (shape.n, from.buffer.layout, from.buffer.words());
        let mut out = CpuBuffer::new(shape.words(), layout);
        match layout {
            Layout::Zero => {}
            Layout::Rows => for_each_chunk(out.words_mut(), n, |row, out| {
                let (poly, limb) = (row / shape.limbs, from.map[row % shape.limbs]);
                out.copy_from_slice(&words[(poly * from.limbs + limb) * n..][..n]);
            }),
            Layout::Panels => for_each_chunk(out.words_mut(), n, |chunk, out| {
                let (limb, part) = (from.map[chunk / shape.batch], chunk % shape.batch);
                out.copy_from_slice(&words[(limb * shape.batch + part) * n..][..n]);
            }),
        }
        Ok(out)
    }

    fn stack(
        &self,
        _: &CpuTables,
        shape: Shape,
        domain: Domain,
        parts: &[&CpuBuffer],
        counts: &[usize],
    ) -> Result<CpuBuffer> {
        let Shape { batch, limbs, n } = shape;
        if parts.iter().all(|part| part.layout == Layout::Zero) {
            return Ok(CpuBuffer::zeros(shape.words()));
        }
        // A piece is what lies together for all polynomials of a batch.
        let (layout, pieces, size) = match domain {
            Domain::Coeff | Domain::Rows => (Layout::Rows, 1, limbs * n),
            Domain::Ntt => (Layout::Panels, limbs * n / groups::width(n), groups::width(n)),
        };
        let (mut out, together) = (CpuBuffer::new(shape.words(), layout), pieces.min(64));
        for_each_chunk(out.words_mut(), batch * size * together, |chunk, out| {
            let first = chunk * together;
            for (piece, mut out) in out.chunks_exact_mut(batch * size).enumerate() {
                for (part, &count) in parts.iter().zip(counts) {
                    let (to, rest) = out.split_at_mut(count * size);
                    to.copy_from_slice(&part.words()[(first + piece) * count * size..][..count * size]);
                    out = rest;
                }
            }
        });
        Ok(out)
    }
}

impl Lift for Cpu {
    fn add_lifted(
        &self,
        t: &CpuTables,
        shape: Shape,
        acc: &mut CpuBuffer,
        values: &[i32],
        scale: &[u64],
    ) -> Result<()> {
        acc.layout = common(acc.layout, Layout::Rows);
        for_each_chunk(acc.words_mut(), shape.n, |row, acc| {
            let (poly, limb) = (row / shape.limbs, row % shape.limbs);
            t.limbs[limb].add_lifted(acc, &values[poly * shape.n..][..shape.n], scale[limb]);
        });
        Ok(())
    }

    fn lift(&self, t: &CpuTables, shape: Shape, values: &[i32], scale: &[u64]) -> Result<CpuBuffer> {
        let mut out = CpuBuffer::new(shape.words(), Layout::Rows);
        for_each_chunk(out.words_mut(), shape.n, |row, out| {
            let (poly, limb) = (row / shape.limbs, row % shape.limbs);
            let values = &values[poly * shape.n..][..shape.n];
            match scale[limb] {
                1 => t.limbs[limb].lift(out, values),
                scale => t.limbs[limb].add_lifted(out, values, scale),
            }
        });
        Ok(out)
    }

    fn expand_uniform(&self, t: &CpuTables, shape: Shape, seed: &PublicSeed, first: u32) -> Result<CpuBuffer> {
        Ok(rows_to_panels(shape, |row, out| {
            let (poly, limb) = (first + (row / shape.limbs) as u32, row % shape.limbs);
            uniform_poly(seed, t.modulus(limb), poly, limb as u32, out);
        }))
    }

    fn reduce(&self, t: &CpuTables, shape: Shape, values: Integers<'_>) -> Result<CpuBuffer> {
        Ok(self.residues(t, shape, values))
    }
}

impl Product for Cpu {
    fn gemm(
        &self,
        t: &CpuTables,
        size: GemmShape,
        w: Limbs<'_, CpuBuffer>,
        x: &[&CpuBuffer],
    ) -> Result<Vec<CpuBuffer>> {
        if x.iter().all(|x| x.layout != Layout::Panels) && w.buffer.layout != Layout::Panels {
            return Ok(x.iter().map(|x| self.gemm_rows(t, size, &w, x)).collect());
        }
        let (words, panels) = (size.rows * size.inner * groups::width(t.n), t.n / groups::width(t.n));
        Ok(product(t, size, x, |i| {
            let panel = w.map[i / panels] * panels + i % panels;
            &w.buffer.words()[panel * words..]
        }))
    }

    fn tensor(&self, t: &CpuTables, shape: Shape, a: &CpuBuffer, b: &CpuBuffer) -> Result<CpuBuffer> {
        debug_assert_eq!(shape.batch, 2);
        Ok(self.tensor_of_rows(t, a, b))
    }

    fn gemm_constants(
        &self,
        t: &CpuTables,
        basis: &Basis,
        size: GemmShape,
        w: &[i32],
        x: &[&CpuBuffer],
    ) -> Result<Vec<CpuBuffer>> {
        // One panel serves all frequencies of a limb.
        let width = groups::width(t.n);
        let mut lines = CpuBuffer::new(w.len() * basis.len() * width, Layout::Panels);
        for (i, line) in lines.words_mut().chunks_exact_mut(width).enumerate() {
            line.fill(basis.modulus(i / w.len()).from_signed(i64::from(w[i % w.len()])));
        }
        let (words, panels) = (w.len() * width, t.n / width);
        Ok(product(t, size, x, |i| &lines.words()[i / panels * words..]))
    }
}

impl Rns for Cpu {
    fn mod_up(&self, t: &CpuTables, to: &CpuTables, shape: Shape, from: Limbs<'_, CpuBuffer>) -> Result<CpuBuffer> {
        self.convert(t, to, shape, from)
    }

    fn mod_down(&self, t: &CpuTables, shape: Shape, kept: usize, buffer: CpuBuffer) -> Result<CpuBuffer> {
        self.divide(t, shape, kept, &buffer)
    }

    fn mod_up_points(
        &self,
        t: &CpuTables,
        to: &CpuTables,
        shape: Shape,
        digits: InDigits<'_>,
        x: &CpuBuffer,
    ) -> Result<CpuBuffer> {
        self.lift_points(t, to, shape, digits.digit, x)
    }

    fn mod_down_points(&self, t: &CpuTables, _: &Basis, shape: Shape, kept: usize, x: &CpuBuffer) -> Result<CpuBuffer> {
        self.divide_points(t, shape, kept, x)
    }
}

impl Run for Cpu {
    fn run<I: Items>(
        &self,
        chain: &Recorded,
        buffers: &[&CpuBuffer],
        batch: usize,
        items: &I,
    ) -> Option<Ran<I::Output, CpuBuffer>> {
        let run = |t: CpuTables| chain::Runner::new(self.body, &t, chain, buffers, batch).run(items);
        Some(self.tables(&chain.basis).and_then(run))
    }

    fn sums_of_mirrored(
        &self,
        t: &CpuTables,
        sums: &MirroredSums<'_>,
        sources: &[&CpuBuffer],
    ) -> Option<Vec<CpuBuffer>> {
        (t.n >= mirrored::LEAST_N).then(|| self.mirrored(t, sums, sources))
    }
}

impl Backend for Cpu {
    fn describe(&self) -> String {
        format!("CPU, {:?}, {} threads", self.body, rayon::current_num_threads())
    }

    fn kind(&self) -> DeviceKind {
        DeviceKind::Cpu
    }
}

/// The matrix products whose left factor's panel `i` is at the start of `w(i)`, counted over limbs and frequencies.
fn product<'w>(
    t: &CpuTables,
    size: GemmShape,
    x: &[&CpuBuffer],
    w: impl Fn(usize) -> &'w [u64] + Send + Sync,
) -> Vec<CpuBuffer> {
    let GemmShape { rows, inner, cols } = size;
    let (n, width) = (t.n, groups::width(t.n));
    let words = rows * cols * t.limbs.len() * n;
    let mut y: Vec<_> = x.iter().map(|_| CpuBuffer::new(words, Layout::Panels)).collect();
    let (x_words, y_words) = (inner * cols * width, rows * cols * width);
    let mut panels: Vec<Vec<Side<'_>>> = (0..words / y_words).map(|_| Vec::with_capacity(x.len())).collect();
    for (x, y) in x.iter().zip(&mut y) {
        let sides = x.words().chunks_exact(x_words).zip(y.words_mut().chunks_exact_mut(y_words));
        panels.iter_mut().zip(sides).for_each(|(panel, (x, y))| panel.push(Side { x, y }));
    }
    let stream = words * x.len() > gemm::STREAM_WORDS;
    let one = |packed: &mut Vec<u64>, (i, sides): (usize, Vec<Side<'_>>)| {
        t.limbs[i / (n / width)].gemm(size, Panel { w: w(i), sides, stream }, packed);
    };
    if words * inner * x.len() <= SERIAL_WORDS {
        let mut packed = Vec::new();
        panels.into_iter().enumerate().for_each(|panel| one(&mut packed, panel));
    } else {
        panels.into_par_iter().enumerate().for_each_init(Vec::new, one);
    }
    y
}
