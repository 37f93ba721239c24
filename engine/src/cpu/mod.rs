//! The CPU backend: every kernel runs over its batch on the rayon pool.
//!
//! | module | what |
//! |---|---|
//! | [`scalar`] | the definition of each kernel on one row |

pub mod scalar;

use rayon::prelude::*;
use zeroize::Zeroize;

use crate::backend::{Backend, Domain, GemmShape, Shape};
use crate::error::Result;
use crate::ring::sampler::{PublicSeed, uniform_poly};
use crate::ring::{Modulus, RnsBasis};

/// The processor this runs on.
#[derive(Debug, Default)]
pub struct Cpu;

/// Residues in main memory, zeroized when dropped.
#[derive(Clone)]
pub struct CpuBuffer(Vec<u64>);

impl Drop for CpuBuffer {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

fn rows(basis: &RnsBasis, shape: Shape) -> impl Fn(usize) -> Modulus + Sync + '_ {
    move |row| basis.modulus(row % shape.limbs)
}

impl Backend for Cpu {
    type Buffer = CpuBuffer;
    type Tables = RnsBasis;

    fn describe(&self) -> String {
        format!("CPU, {} threads", rayon::current_num_threads())
    }

    fn tables(&self, basis: &RnsBasis) -> Result<RnsBasis> {
        Ok(basis.clone())
    }

    fn upload(&self, _: &RnsBasis, _: Shape, _: Domain, host: &[u64]) -> Result<CpuBuffer> {
        Ok(CpuBuffer(host.to_vec()))
    }

    fn download(&self, _: &RnsBasis, _: Shape, _: Domain, buffer: &CpuBuffer) -> Result<Vec<u64>> {
        Ok(buffer.0.clone())
    }

    fn zeros(&self, _: &RnsBasis, shape: Shape) -> Result<CpuBuffer> {
        Ok(CpuBuffer(vec![0; shape.words()]))
    }

    fn duplicate(&self, buffer: &CpuBuffer) -> Result<CpuBuffer> {
        Ok(buffer.clone())
    }

    fn add_lifted(&self, t: &RnsBasis, shape: Shape, acc: &mut CpuBuffer, values: &[i32], scale: &[u64]) -> Result<()> {
        let q = rows(t, shape);
        acc.0.par_chunks_exact_mut(shape.n).enumerate().for_each(|(row, acc)| {
            let poly = row / shape.limbs;
            scalar::add_lifted(q(row), acc, &values[poly * shape.n..][..shape.n], scale[row % shape.limbs]);
        });
        Ok(())
    }

    fn expand_uniform(&self, t: &RnsBasis, shape: Shape, seed: &PublicSeed, first: u32) -> Result<CpuBuffer> {
        let q = rows(t, shape);
        let mut out = vec![0; shape.words()];
        out.par_chunks_exact_mut(shape.n).enumerate().for_each(|(row, out)| {
            let (poly, limb) = (first + (row / shape.limbs) as u32, (row % shape.limbs) as u32);
            uniform_poly(seed, q(row), poly, limb, out);
        });
        Ok(CpuBuffer(out))
    }

    fn ntt_forward(&self, t: &RnsBasis, shape: Shape, mut buffer: CpuBuffer) -> Result<CpuBuffer> {
        buffer
            .0
            .par_chunks_exact_mut(shape.n)
            .enumerate()
            .for_each(|(row, a)| t.tables()[row % shape.limbs].forward(a));
        Ok(buffer)
    }

    fn ntt_inverse(&self, t: &RnsBasis, shape: Shape, mut buffer: CpuBuffer) -> Result<CpuBuffer> {
        buffer
            .0
            .par_chunks_exact_mut(shape.n)
            .enumerate()
            .for_each(|(row, a)| t.tables()[row % shape.limbs].inverse(a));
        Ok(buffer)
    }

    fn add_assign(&self, t: &RnsBasis, shape: Shape, a: &mut CpuBuffer, b: &CpuBuffer) -> Result<()> {
        let q = rows(t, shape);
        let n = shape.n;
        a.0.par_chunks_exact_mut(n)
            .zip(b.0.par_chunks_exact(n))
            .enumerate()
            .for_each(|(r, (a, b))| scalar::add(q(r), a, b));
        Ok(())
    }

    fn sub_assign(&self, t: &RnsBasis, shape: Shape, a: &mut CpuBuffer, b: &CpuBuffer) -> Result<()> {
        let q = rows(t, shape);
        let n = shape.n;
        a.0.par_chunks_exact_mut(n)
            .zip(b.0.par_chunks_exact(n))
            .enumerate()
            .for_each(|(r, (a, b))| scalar::sub(q(r), a, b));
        Ok(())
    }

    fn negate_assign(&self, t: &RnsBasis, shape: Shape, a: &mut CpuBuffer) -> Result<()> {
        let q = rows(t, shape);
        a.0.par_chunks_exact_mut(shape.n).enumerate().for_each(|(r, a)| scalar::negate(q(r), a));
        Ok(())
    }

    fn mul_assign(&self, t: &RnsBasis, shape: Shape, a: &mut CpuBuffer, b: &CpuBuffer, b_batch: usize) -> Result<()> {
        let q = rows(t, shape);
        let b_rows = b_batch * shape.limbs;
        a.0.par_chunks_exact_mut(shape.n)
            .enumerate()
            .for_each(|(r, a)| scalar::mul(q(r), a, &b.0[(r % b_rows) * shape.n..][..shape.n]));
        Ok(())
    }

    fn mul_add_assign(
        &self,
        t: &RnsBasis,
        shape: Shape,
        acc: &mut CpuBuffer,
        a: &CpuBuffer,
        b: &CpuBuffer,
        b_batch: usize,
    ) -> Result<()> {
        let q = rows(t, shape);
        let b_rows = b_batch * shape.limbs;
        acc.0
            .par_chunks_exact_mut(shape.n)
            .zip(a.0.par_chunks_exact(shape.n))
            .enumerate()
            .for_each(|(r, (s, a))| scalar::mul_add(q(r), s, a, &b.0[(r % b_rows) * shape.n..][..shape.n]));
        Ok(())
    }

    fn mul_scalar_assign(&self, t: &RnsBasis, shape: Shape, a: &mut CpuBuffer, scalars: &[u64]) -> Result<()> {
        let q = rows(t, shape);
        a.0.par_chunks_exact_mut(shape.n)
            .enumerate()
            .for_each(|(r, a)| scalar::mul_scalar(q(r), a, scalars[r % shape.limbs]));
        Ok(())
    }

    fn gemm(&self, t: &RnsBasis, limbs: usize, size: GemmShape, w: &CpuBuffer, x: &CpuBuffer) -> Result<CpuBuffer> {
        let n = t.n();
        let GemmShape { rows, inner, cols } = size;
        let row = |poly: usize, limb: usize| (poly * limbs + limb) * n..(poly * limbs + limb + 1) * n;
        let mut y = vec![0; rows * cols * limbs * n];
        y.par_chunks_exact_mut(n).enumerate().for_each(|(out, y)| {
            let (limb, poly) = (out % limbs, out / limbs);
            let (r, c) = (poly / cols, poly % cols);
            for k in 0..inner {
                let (w_row, x_row) = (row(r * inner + k, limb), row(k * cols + c, limb));
                scalar::mul_add(t.modulus(limb), y, &w.0[w_row], &x.0[x_row]);
            }
        });
        Ok(CpuBuffer(y))
    }

    fn drop_last_limb(&self, t: &RnsBasis, shape: Shape, buffer: CpuBuffer) -> Result<CpuBuffer> {
        let Shape { batch, limbs, n } = shape;
        let kept = limbs - 1;
        let mut out = vec![0; batch * kept * n];
        out.par_chunks_exact_mut(kept * n).zip(buffer.0.par_chunks_exact(limbs * n)).for_each(|(out, x)| {
            let (x, last) = x.split_at(kept * n);
            out.copy_from_slice(x);
            for (limb, row) in out.chunks_exact_mut(n).enumerate() {
                scalar::drop_limb(t.modulus(limb), t.modulus(kept), row, last);
            }
        });
        Ok(CpuBuffer(out))
    }
}
