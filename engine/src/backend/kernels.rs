//! Every kernel, once: one list for all that runs them in turn. A case says where, over which primes and on what
//! residues; its results are the same on every device, bit for bit.

use std::ops::Range;

use super::{GemmShape, Integers};
use crate::device::Device;
use crate::error::Result;
use crate::poly::{Coeff, DomainTag, Ntt, PolyBatch};
use crate::prng::Prng;
use crate::ring::Basis;
use crate::ring::primes::ntt_primes;

/// What residues a case has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fill {
    /// Random, after the ends and the middle of the range in the first polynomial.
    Random,
    /// All zero.
    Zero,
    /// All q - 1.
    Largest,
    /// The ends and the middle of the range, mixed.
    Ends,
}

impl Fill {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Random, Self::Zero, Self::Largest, Self::Ends];
}

/// Where and on what a kernel runs.
#[derive(Clone, Copy, Debug)]
pub struct Case<'a> {
    /// Where.
    pub device: &'a Device,
    /// Over which primes.
    pub basis: &'a Basis,
    /// Polynomials.
    pub batch: usize,
    /// Of matrix products.
    pub size: GemmShape,
    /// What residues.
    pub fill: Fill,
}

/// A kernel with inputs that follow from the case alone.
pub struct Kernel {
    /// Its name in the traits of [`backend`](crate::backend), and what else it is run for.
    pub name: &'static str,
    /// Runs it, for residues.
    pub run: fn(&Case<'_>) -> Result<Vec<u64>>,
}

/// Every kernel, in every form.
pub const KERNELS: &[Kernel] = &[
    Kernel { name: "upload", run: |c| c.coefficients(1)?.download() },
    Kernel { name: "download", run: |c| c.points(1)?.download() },
    Kernel { name: "zeros", run: |c| PolyBatch::<Ntt>::zeros(c.device, c.basis, c.batch)?.download() },
    Kernel { name: "duplicate", run: |c| c.points(2)?.duplicate()?.download() },
    Kernel { name: "extract", run: |c| c.points(3)?.extract(c.batch / 2..c.batch)?.download() },
    Kernel { name: "limbs", run: |c| c.points(4)?.limbs(&c.ends()?)?.to_batch()?.download() },
    Kernel { name: "limbs of coefficients", run: |c| c.coefficients(4)?.limbs(&c.ends()?)?.to_batch()?.download() },
    Kernel { name: "stack", run: |c| PolyBatch::stack(&[&c.points(3)?, &c.zero()?, &c.one(4)?])?.download() },
    Kernel {
        name: "stack of coefficients",
        run: |c| PolyBatch::stack(&[&c.coefficients(3)?, &c.zero()?, &c.coefficients(4)?])?.download(),
    },
    Kernel { name: "add_lifted", run: |c| c.change(5, |x| x.add_lifted(&c.values(6, c.batch), &c.scalars(7))) },
    Kernel {
        name: "lift",
        run: |c| PolyBatch::lift(c.device, c.basis, &c.values(8, c.batch), &c.scalars(9))?.download(),
    },
    Kernel {
        name: "lift by one",
        run: |c| PolyBatch::lift(c.device, c.basis, &c.values(8, c.batch), &vec![1; c.basis.len()])?.download(),
    },
    Kernel {
        name: "expand_uniform",
        run: |c| PolyBatch::uniform(c.device, c.basis, &[10; 16], 5, c.batch)?.download(),
    },
    Kernel {
        name: "reduce",
        run: |c| {
            let values: Vec<i64> = c.integers(11).iter().map(|&x| (x >> 64) as i64).collect();
            PolyBatch::reduce(c.device, c.basis, Integers::One(&values))?.download()
        },
    },
    Kernel {
        name: "reduce two words",
        run: |c| PolyBatch::reduce(c.device, c.basis, Integers::Two(&c.integers(12)))?.download(),
    },
    Kernel { name: "ntt_forward", run: |c| c.coefficients(13)?.into_ntt()?.download() },
    Kernel {
        name: "ntt_forward_parts",
        run: |c| {
            let part = |range: Range<usize>| c.part(14, range);
            PolyBatch::from_parts(c.device, c.basis, c.batch, part)?.download()
        },
    },
    Kernel { name: "ntt_inverse", run: |c| c.points(15)?.into_coeff()?.download() },
    Kernel { name: "ntt_inverse_of_product", run: |c| c.points(16)?.into_product(&c.points(17)?)?.download() },
    Kernel { name: "ntt_inverse_of_product with one", run: |c| c.points(16)?.into_product(&c.one(17)?)?.download() },
    Kernel { name: "ntt_forward_mul_add", run: |c| c.multiply_add([c.points(18)?, c.points(19)?]) },
    Kernel { name: "ntt_forward_mul_add with one", run: |c| c.multiply_add([c.one(18)?, c.one(19)?]) },
    Kernel { name: "add_assign", run: |c| c.change(20, |x| x.add_assign(&c.coefficients(21)?)) },
    Kernel { name: "add_assign of points", run: |c| c.change_points(20, |x| x.add_assign(&c.points(21)?)) },
    Kernel { name: "sub_assign", run: |c| c.change(22, |x| x.sub_assign(&c.coefficients(23)?)) },
    Kernel { name: "sub_assign of points", run: |c| c.change_points(22, |x| x.sub_assign(&c.points(23)?)) },
    Kernel { name: "negate_assign", run: |c| c.change(24, PolyBatch::negate) },
    Kernel { name: "negate_assign of points", run: |c| c.change_points(24, PolyBatch::negate) },
    Kernel { name: "mul_assign", run: |c| c.change_points(25, |x| x.mul_assign(&c.points(26)?)) },
    Kernel { name: "mul_assign by one", run: |c| c.change_points(25, |x| x.mul_assign(&c.one(26)?)) },
    Kernel {
        name: "mul_add_assign",
        run: |c| c.change_points(27, |x| x.mul_add_assign(&c.points(28)?, &c.points(29)?)),
    },
    Kernel {
        name: "mul_add_assign by one",
        run: |c| c.change_points(27, |x| x.mul_add_assign(&c.points(28)?, &c.one(29)?)),
    },
    Kernel {
        name: "mul_add_assign to zeros",
        run: |c| {
            let mut sum = PolyBatch::zeros(c.device, c.basis, c.batch)?;
            sum.sub_assign(&c.points(30)?)?;
            sum.mul_add_assign(&c.points(28)?, &c.points(29)?)?;
            sum.download()
        },
    },
    Kernel { name: "mul_scalar_assign", run: |c| c.change(31, |x| x.mul_scalar(&c.scalars(32))) },
    Kernel { name: "mul_scalar_assign of points", run: |c| c.change_points(31, |x| x.mul_scalar(&c.scalars(32))) },
    Kernel {
        name: "gemm",
        run: |c| {
            let GemmShape { rows, inner, cols } = c.size;
            let (w, x, y) = (c.some(33, rows * inner)?, c.some(34, inner * cols)?, c.some(35, inner * cols)?);
            let [x, y] = w.gemm([&x, &y], c.size)?;
            Ok([x.download()?, y.download()?].concat())
        },
    },
    Kernel {
        name: "gemm of a view",
        run: |c| {
            let (GemmShape { rows, inner, cols }, ends) = (c.size, c.ends()?);
            let x = c.some(37, inner * cols)?.limbs(&ends)?.to_batch()?;
            c.some(36, rows * inner)?.limbs(&ends)?.gemm([&x], c.size)?[0].download()
        },
    },
    Kernel {
        name: "gemm_constants",
        run: |c| {
            let GemmShape { rows, inner, cols } = c.size;
            let mut w = c.values(38, (rows * inner).div_ceil(c.basis.n()));
            w.truncate(rows * inner);
            PolyBatch::gemm_constants(&w, [&c.some(39, inner * cols)?], c.size)?[0].download()
        },
    },
    Kernel { name: "mod_up", run: |c| c.coefficients(40)?.mod_up(&c.others()?)?.download() },
    Kernel {
        name: "mod_up of one limb",
        run: |c| c.coefficients(41)?.limbs(&c.basis.range(0..1)?)?.mod_up(&c.others()?)?.download(),
    },
    Kernel {
        name: "mod_up of limbs apart",
        run: |c| c.coefficients(41)?.limbs(&c.ends()?)?.mod_up(&c.others()?)?.download(),
    },
    Kernel { name: "mod_down", run: |c| c.each_level(|kept| c.coefficients(42)?.mod_down(kept)?.download()) },
    Kernel { name: "mod_down of points", run: |c| c.each_level(|kept| c.points(43)?.mod_down(kept)?.download()) },
    Kernel { name: "automorphism", run: |c| c.each_element(|g| c.coefficients(44)?.automorphism(g)?.download()) },
    Kernel { name: "automorphism of points", run: |c| c.each_element(|g| c.points(45)?.automorphism(g)?.download()) },
];

impl Case<'_> {
    fn prng(&self, salt: u8) -> Prng {
        Prng::from_seed_for_tests([salt; 32])
    }

    fn residues(&self, salt: u8, batch: usize) -> Vec<u64> {
        let mut prng = self.prng(salt);
        let n = self.basis.n();
        let mut out = Vec::with_capacity(batch * self.basis.len() * n);
        for row in 0..batch * self.basis.len() {
            let q = self.basis.modulus(row % self.basis.len());
            let v = q.value();
            let ends = [0, v - 1, v / 2, v / 2 + 1, 1, v - 2, 2];
            out.extend((0..n).map(|i| match self.fill {
                Fill::Random if row < self.basis.len() && i < ends.len() => ends[i],
                Fill::Random => q.reduce(prng.next_u64()),
                Fill::Zero => 0,
                Fill::Largest => v - 1,
                Fill::Ends => ends[prng.next_u32() as usize % ends.len()],
            }));
        }
        out
    }

    fn coefficients(&self, salt: u8) -> Result<PolyBatch<Coeff>> {
        PolyBatch::upload(self.device, self.basis, &self.residues(salt, self.batch))
    }

    fn points(&self, salt: u8) -> Result<PolyBatch<Ntt>> {
        self.some(salt, self.batch)
    }

    fn one(&self, salt: u8) -> Result<PolyBatch<Ntt>> {
        self.some(salt, 1)
    }

    fn zero<D: DomainTag>(&self) -> Result<PolyBatch<D>> {
        PolyBatch::zeros(self.device, self.basis, 2)
    }

    fn some(&self, salt: u8, batch: usize) -> Result<PolyBatch<Ntt>> {
        PolyBatch::upload(self.device, self.basis, &self.residues(salt, batch))
    }

    fn part(&self, salt: u8, range: Range<usize>) -> Result<PolyBatch<Coeff>> {
        let size = self.basis.len() * self.basis.n();
        let words = &self.residues(salt, self.batch)[range.start * size..range.end * size];
        PolyBatch::upload(self.device, self.basis, words)
    }

    fn change(&self, salt: u8, f: impl Fn(&mut PolyBatch<Coeff>) -> Result<()>) -> Result<Vec<u64>> {
        let mut x = self.coefficients(salt)?;
        f(&mut x)?;
        x.download()
    }

    fn change_points(&self, salt: u8, f: impl Fn(&mut PolyBatch<Ntt>) -> Result<()>) -> Result<Vec<u64>> {
        let mut x = self.points(salt)?;
        f(&mut x)?;
        x.download()
    }

    fn multiply_add(&self, [f0, f1]: [PolyBatch<Ntt>; 2]) -> Result<Vec<u64>> {
        let (mut s0, mut s1) = (self.points(46)?, self.points(47)?);
        self.coefficients(48)?.mul_add_into([&mut s0, &mut s1], [&f0, &f1])?;
        Ok([s0.download()?, s1.download()?].concat())
    }

    /// `[batch, n]` small values.
    fn values(&self, salt: u8, batch: usize) -> Vec<i32> {
        let mut values: Vec<i32> = self.prng(salt).fill(batch * self.basis.n());
        let ends = [i32::MIN, i32::MAX, -1, 0];
        match self.fill {
            Fill::Random => values[..4].copy_from_slice(&ends),
            Fill::Zero => values.fill(0),
            Fill::Largest => values.fill(i32::MIN),
            Fill::Ends => values.iter_mut().for_each(|v| *v = ends[*v as usize % 4]),
        }
        values
    }

    /// `[batch, n]` integers of two words.
    fn integers(&self, salt: u8) -> Vec<i128> {
        let mut values: Vec<i128> = self.prng(salt).fill(self.batch * self.basis.n());
        let ends = [i128::MIN, i128::MAX, -1, 0];
        match self.fill {
            Fill::Random => values[..4].copy_from_slice(&ends),
            Fill::Zero => values.fill(0),
            Fill::Largest => values.fill(i128::MIN),
            Fill::Ends => values.iter_mut().for_each(|v| *v = ends[*v as usize % 4]),
        }
        values
    }

    /// A scalar a limb.
    fn scalars(&self, salt: u8) -> Vec<u64> {
        let mut prng = self.prng(salt);
        let scalar = |q: u64| match self.fill {
            Fill::Largest => q - 1,
            _ => prng.next_u64() % q,
        };
        self.basis.values().into_iter().map(scalar).collect()
    }

    /// The last prime and the first: a view whose limbs do not follow each other.
    fn ends(&self) -> Result<Basis> {
        let last = self.basis.range(self.basis.len() - 1..self.basis.len())?;
        if self.basis.len() == 1 { Ok(last) } else { last.joined(&self.basis.level(1)?) }
    }

    /// A wider prime, a narrower one and one of the most usual width, to convert to.
    fn others(&self) -> Result<Basis> {
        let prime = |bits| Ok(ntt_primes(bits, self.basis.n(), 4)?[3]);
        Basis::new(self.basis.n(), &[prime(60)?, prime(36)?, prime(50)?])
    }

    fn each_level(&self, f: impl Fn(usize) -> Result<Vec<u64>>) -> Result<Vec<u64>> {
        Ok((1..self.basis.len()).map(f).collect::<Result<Vec<_>>>()?.concat())
    }

    fn each_element(&self, f: impl Fn(usize) -> Result<Vec<u64>>) -> Result<Vec<u64>> {
        let n = self.basis.n();
        Ok([1, 3, n + 1, 2 * n - 1].into_iter().map(f).collect::<Result<Vec<_>>>()?.concat())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_kernel_is_left_out_and_each_runs() {
        let listed: Vec<_> = KERNELS.iter().map(|k| k.name).collect();
        for name in crate::device::NAMES {
            assert!(listed.contains(name), "{name} is in no list");
        }
        let basis = Basis::new(64, &ntt_primes(50, 64, 3).unwrap()).unwrap();
        let device = Device::cpu();
        for fill in Fill::ALL {
            let size = GemmShape { rows: 2, inner: 3, cols: 2 };
            let case = Case { device: &device, basis: &basis, batch: 2, size, fill };
            for kernel in KERNELS {
                assert!((kernel.run)(&case).unwrap().len() >= 64, "{}", kernel.name);
            }
        }
    }
}
