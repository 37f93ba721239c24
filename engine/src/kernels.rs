//! Every kernel, once: one list for all that runs them in turn, to compare devices and to time them. A case says where,
//! over which primes, in what sizes and on what residues or labels; results are the same on every device, bit for bit.

mod gates;
mod inputs;

use std::ops::Range;

use crate::backend::{GemmShape, Integers, RoomSize};
use crate::device::Device;
use crate::error::Result;
use crate::garble::GateHash;
use crate::poly::{Coeff, DomainTag, Ntt, PolyBatch};
use crate::ring::Basis;

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
    /// Uniform from a public seed, each polynomial by itself: for long batches, which are timed.
    Uniform,
}

impl Fill {
    /// All that devices are compared on.
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
    /// Of rooms of gates, whose slots are the list's own.
    pub room: RoomSize,
    /// What residues and labels.
    pub fill: Fill,
}

/// What a kernel leaves, on its device until it is read as words.
pub type Left = Box<dyn FnOnce() -> Result<Vec<u64>> + Send>;

/// A kernel whose inputs are in place; where a device only enqueues, it returns early.
pub type Call = Box<dyn FnOnce() -> Result<Left> + Send>;

/// What a kernel works on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum On {
    /// Polynomials.
    Residues,
    /// Labels of wires.
    Labels,
}

/// A kernel with inputs that follow from the case alone.
pub struct Kernel {
    /// Its name in the traits of backends, and what else it is run for.
    pub name: &'static str,
    /// What it works on.
    pub on: On,
    /// Puts its inputs in place.
    pub prepare: fn(&Case<'_>) -> Result<Call>,
}

impl Kernel {
    const fn new(name: &'static str, prepare: fn(&Case<'_>) -> Result<Call>) -> Self {
        Self { name, on: On::Residues, prepare }
    }

    const fn gate(name: &'static str, prepare: fn(&Case<'_>) -> Result<Call>) -> Self {
        Self { name, on: On::Labels, prepare }
    }

    /// The kernel of this name.
    ///
    /// # Panics
    /// If there is none.
    pub fn named(name: &str) -> &'static Self {
        KERNELS.iter().find(|k| k.name == name).unwrap_or_else(|| panic!("no kernel is called {name}"))
    }

    /// All of it: what it leaves, as words.
    ///
    /// # Errors
    /// Those of the device.
    pub fn run(&self, case: &Case<'_>) -> Result<Vec<u64>> {
        (self.prepare)(case)?()?()
    }
}

/// What can be read as words.
trait Words: Send {
    fn words(self) -> Result<Vec<u64>>;
}

impl<D: DomainTag + Send> Words for PolyBatch<D> {
    fn words(self) -> Result<Vec<u64>> {
        self.download()
    }
}

impl<T: Words, const N: usize> Words for [T; N] {
    fn words(self) -> Result<Vec<u64>> {
        Ok(self.into_iter().map(T::words).collect::<Result<Vec<_>>>()?.concat())
    }
}

impl<T: Words> Words for Vec<T> {
    fn words(self) -> Result<Vec<u64>> {
        Ok(self.into_iter().map(T::words).collect::<Result<Vec<_>>>()?.concat())
    }
}

/// What a kernel leaves, and what it read: freed after the time is taken.
struct Beside<T, K>(T, K);

impl<T: Words, K: Send> Words for Beside<T, K> {
    fn words(self) -> Result<Vec<u64>> {
        self.0.words()
    }
}

fn call<T: Words + 'static>(kernel: impl FnOnce() -> Result<T> + Send + 'static) -> Result<Call> {
    Ok(Box::new(move || {
        let left = kernel()?;
        Ok(Box::new(move || left.words()) as Left)
    }))
}

/// A kernel that changes its operand.
fn change<T: Words + 'static>(
    mut operand: T,
    kernel: impl FnOnce(&mut T) -> Result<()> + Send + 'static,
) -> Result<Call> {
    call(move || {
        kernel(&mut operand)?;
        Ok(operand)
    })
}

/// Every kernel, in every form.
pub const KERNELS: &[Kernel] = &[
    Kernel::new("upload", |c| {
        let (device, basis, words) = (c.device.clone(), c.basis.clone(), c.residues(1, c.batch));
        call(move || PolyBatch::<Coeff>::upload(&device, &basis, &words))
    }),
    Kernel::new("download", |c| {
        let x = c.points(1)?;
        Ok(Box::new(move || {
            let words = x.download()?;
            Ok(Box::new(|| Ok(words)) as Left)
        }))
    }),
    Kernel::new("zeros", |c| {
        let (device, basis, batch) = (c.device.clone(), c.basis.clone(), c.batch);
        call(move || PolyBatch::<Ntt>::zeros(&device, &basis, batch))
    }),
    Kernel::new("duplicate", |c| {
        let x = c.points(2)?;
        call(move || x.duplicate())
    }),
    Kernel::new("extract", |c| {
        let (x, range) = (c.points(3)?, c.batch / 2..c.batch);
        call(move || x.extract(range))
    }),
    Kernel::new("limbs", |c| {
        let (x, ends) = (c.points(4)?, c.ends()?);
        call(move || x.limbs(&ends)?.to_batch())
    }),
    Kernel::new("limbs of coefficients", |c| {
        let (x, ends) = (c.coefficients(4)?, c.ends()?);
        call(move || x.limbs(&ends)?.to_batch())
    }),
    Kernel::new("stack", |c| {
        let (x, zero, y) = (c.points(3)?, c.zero()?, c.one(4)?);
        call(move || PolyBatch::stack(&[&x, &zero, &y]))
    }),
    Kernel::new("stack of coefficients", |c| {
        let (x, zero, y) = (c.coefficients(3)?, c.zero()?, c.coefficients(4)?);
        call(move || PolyBatch::stack(&[&x, &zero, &y]))
    }),
    Kernel::new("add_lifted", |c| {
        let (values, scale) = (c.values(6, c.batch), c.scalars(7));
        change(c.coefficients(5)?, move |x| x.add_lifted(&values, &scale))
    }),
    Kernel::new("lift", |c| c.lift(c.scalars(9))),
    Kernel::new("lift by one", |c| c.lift(vec![1; c.basis.len()])),
    Kernel::new("expand_uniform", |c| {
        let (device, basis, batch) = (c.device.clone(), c.basis.clone(), c.batch);
        call(move || PolyBatch::uniform(&device, &basis, &[10; 16], 5, batch))
    }),
    Kernel::new("reduce", |c| {
        let values: Vec<i64> = c.integers(11).iter().map(|&x| (x >> 64) as i64).collect();
        let (device, basis) = (c.device.clone(), c.basis.clone());
        call(move || PolyBatch::reduce(&device, &basis, Integers::One(&values)))
    }),
    Kernel::new("reduce two words", |c| {
        let (device, basis, values) = (c.device.clone(), c.basis.clone(), c.integers(12));
        call(move || PolyBatch::reduce(&device, &basis, Integers::Two(&values)))
    }),
    Kernel::new("ntt_forward", |c| {
        let x = c.coefficients(13)?;
        call(move || x.into_ntt())
    }),
    Kernel::new("ntt_forward_parts", |c| {
        let (device, basis, batch) = (c.device.clone(), c.basis.clone(), c.batch);
        let (size, words) = (basis.len() * basis.n(), c.residues(14, batch));
        call(move || {
            let part =
                |range: Range<usize>| PolyBatch::upload(&device, &basis, &words[range.start * size..range.end * size]);
            PolyBatch::from_parts(&device, &basis, batch, part)
        })
    }),
    Kernel::new("ntt_inverse", |c| {
        let x = c.points(15)?;
        call(move || x.into_coeff())
    }),
    Kernel::new("ntt_forward_rows", |c| {
        let x = c.coefficients(13)?;
        call(move || x.into_rows())
    }),
    Kernel::new("ntt_inverse_rows", |c| {
        let x = c.rows(15)?;
        call(move || x.into_coeff())
    }),
    Kernel::new("to_rows", |c| {
        let x = c.points(15)?;
        call(move || x.into_rows())
    }),
    Kernel::new("to_panels", |c| {
        let x = c.rows(15)?;
        call(move || x.into_panels())
    }),
    Kernel::new("ntt_inverse_of_product", |c| {
        let (x, y) = (c.points(16)?, c.points(17)?);
        call(move || x.into_product(&y))
    }),
    Kernel::new("ntt_inverse_of_product with one", |c| {
        let (x, y) = (c.points(16)?, c.one(17)?);
        call(move || x.into_product(&y))
    }),
    Kernel::new("ntt_forward_mul_add", |c| c.multiply_add([c.points(18)?, c.points(19)?])),
    Kernel::new("ntt_forward_mul_add with one", |c| c.multiply_add([c.one(18)?, c.one(19)?])),
    Kernel::new("add_assign", |c| c.binary(20, |x, y| x.add_assign(y))),
    Kernel::new("add_assign of points", |c| c.binary_of_points(20, |x, y| x.add_assign(y))),
    Kernel::new("sub_assign", |c| c.binary(22, |x, y| x.sub_assign(y))),
    Kernel::new("sub_assign of points", |c| c.binary_of_points(22, |x, y| x.sub_assign(y))),
    Kernel::new("negate_assign", |c| change(c.coefficients(24)?, PolyBatch::negate)),
    Kernel::new("negate_assign of points", |c| change(c.points(24)?, PolyBatch::negate)),
    Kernel::new("mul_assign", |c| c.binary_of_points(25, |x, y| x.mul_assign(y))),
    Kernel::new("mul_assign by one", |c| {
        let y = c.one(26)?;
        change(c.points(25)?, move |x| x.mul_assign(&y))
    }),
    Kernel::new("mul_add_assign", |c| {
        let (y, z) = (c.points(28)?, c.points(29)?);
        change(c.points(27)?, move |x| x.mul_add_assign(&y, &z))
    }),
    Kernel::new("mul_add_assign by one", |c| {
        let (y, z) = (c.points(28)?, c.one(29)?);
        change(c.points(27)?, move |x| x.mul_add_assign(&y, &z))
    }),
    Kernel::new("mul_add_assign to zeros", |c| {
        let (x, y, z) = (c.points(30)?, c.points(28)?, c.points(29)?);
        change(PolyBatch::zeros(c.device, c.basis, c.batch)?, move |sum| {
            sum.sub_assign(&x)?;
            sum.mul_add_assign(&y, &z)
        })
    }),
    Kernel::new("add_assign of rows", |c| c.binary_of_rows(20, |x, y| x.add_assign(y))),
    Kernel::new("sub_assign of rows", |c| c.binary_of_rows(22, |x, y| x.sub_assign(y))),
    Kernel::new("mul_assign of rows", |c| c.binary_of_rows(25, |x, y| x.mul_assign(y))),
    Kernel::new("mul_add_assign of rows", |c| {
        let (y, z) = (c.rows(28)?, c.one(29)?.into_rows()?);
        change(c.rows(27)?, move |x| {
            x.mul_add_assign(&y, &z)?;
            x.mul_add_assign(&y, &y)
        })
    }),
    Kernel::new("mul_scalar_assign", |c| {
        let scalars = c.scalars(32);
        change(c.coefficients(31)?, move |x| x.mul_scalar(&scalars))
    }),
    Kernel::new("mul_scalar_assign of points", |c| {
        let scalars = c.scalars(32);
        change(c.points(31)?, move |x| x.mul_scalar(&scalars))
    }),
    Kernel::new("gemm", |c| {
        let GemmShape { rows, inner, cols } = c.size;
        let (size, w) = (c.size, c.left_factor(0..rows * inner)?);
        let (x, y) = (c.right_factor(0..inner * cols)?, c.some(35, inner * cols)?);
        call(move || Ok(Beside(w.gemm([&x, &y], size)?, (w, x, y))))
    }),
    Kernel::new("gemm of a view", |c| {
        let (GemmShape { rows, inner, cols }, size, ends) = (c.size, c.size, c.ends()?);
        let x = c.some(37, inner * cols)?.limbs(&ends)?.to_batch()?;
        let w = c.some(36, rows * inner)?;
        call(move || Ok(Beside(w.limbs(&ends)?.gemm([&x], size)?, (w, x))))
    }),
    Kernel::new("gemm_constants", |c| {
        let (GemmShape { rows, inner, cols }, size) = (c.size, c.size);
        let mut w = c.values(38, (rows * inner).div_ceil(c.basis.n()));
        w.truncate(rows * inner);
        let x = c.some(39, inner * cols)?;
        call(move || Ok(Beside(PolyBatch::gemm_constants(&w, [&x], size)?, x)))
    }),
    Kernel::new("mod_up", |c| {
        let (x, others) = (c.coefficients(40)?, c.others()?);
        call(move || x.mod_up(&others))
    }),
    Kernel::new("mod_up of one limb", |c| {
        let (x, one, others) = (c.coefficients(41)?, c.basis.range(0..1)?, c.others()?);
        call(move || x.limbs(&one)?.mod_up(&others))
    }),
    Kernel::new("mod_up of limbs apart", |c| {
        let (x, ends, others) = (c.coefficients(41)?, c.ends()?, c.others()?);
        call(move || x.limbs(&ends)?.mod_up(&others))
    }),
    Kernel::new("mod_down", |c| {
        let levels = (1..c.basis.len()).map(|kept| Ok((kept, c.coefficients(42)?))).collect::<Result<Vec<_>>>()?;
        call(move || levels.into_iter().map(|(kept, x)| x.mod_down(kept)).collect::<Result<Vec<_>>>())
    }),
    Kernel::new("mod_down of points", |c| {
        let levels = (1..c.basis.len()).map(|kept| Ok((kept, c.points(43)?))).collect::<Result<Vec<_>>>()?;
        call(move || levels.into_iter().map(|(kept, x)| x.mod_down(kept)).collect::<Result<Vec<_>>>())
    }),
    Kernel::new("automorphism", |c| {
        let (x, elements) = (c.coefficients(44)?, c.elements());
        call(move || elements.into_iter().map(|g| x.automorphism(g)).collect::<Result<Vec<_>>>())
    }),
    Kernel::new("automorphism of points", |c| {
        let (x, elements) = (c.points(45)?, c.elements());
        call(move || elements.into_iter().map(|g| x.automorphism(g)).collect::<Result<Vec<_>>>())
    }),
    Kernel::new("automorphism of rows", |c| {
        let (x, elements) = (c.rows(45)?, c.elements());
        call(move || elements.into_iter().map(|g| x.automorphism(g)).collect::<Result<Vec<_>>>())
    }),
    Kernel::gate("xor", gates::xor),
    Kernel::gate("garble_and", |c| gates::garble_and(c, GateHash::Aes, gates::FRESH)),
    Kernel::gate("garble_and in a chain", |c| gates::garble_and(c, GateHash::Aes, gates::CHAINED)),
    Kernel::gate("garble_and by ChaCha12", |c| gates::garble_and(c, GateHash::ChaCha12, gates::FRESH)),
    Kernel::gate("garble_and by ChaCha12 in a chain", |c| gates::garble_and(c, GateHash::ChaCha12, gates::CHAINED)),
    Kernel::gate("evaluate_and", |c| gates::evaluate_and(c, GateHash::Aes, gates::FRESH)),
    Kernel::gate("evaluate_and in a chain", |c| gates::evaluate_and(c, GateHash::Aes, gates::CHAINED)),
    Kernel::gate("evaluate_and by ChaCha12", |c| gates::evaluate_and(c, GateHash::ChaCha12, gates::FRESH)),
    Kernel::gate("evaluate_and by ChaCha12 in a chain", |c| gates::evaluate_and(c, GateHash::ChaCha12, gates::CHAINED)),
    Kernel::gate("colours", gates::colours),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ring::primes::ntt_primes;

    #[test]
    fn no_kernel_is_left_out_and_each_runs() {
        let listed: Vec<_> = KERNELS.iter().map(|k| k.name).collect();
        for name in crate::device::NAMES.iter().chain(&crate::backend::gates::NAMES) {
            assert!(listed.contains(name), "{name} is in no list");
        }
        let basis = Basis::new(64, &ntt_primes(50, 64, 3).unwrap()).unwrap();
        let device = Device::cpu();
        for fill in Fill::ALL.into_iter().chain([Fill::Uniform]) {
            let size = GemmShape { rows: 2, inner: 3, cols: 2 };
            let room = RoomSize { slots: 0, gates: 2, instances: 300 };
            let case = Case { device: &device, basis: &basis, batch: 2, size, room, fill };
            for kernel in KERNELS {
                assert!(kernel.run(&case).unwrap().len() >= 64, "{}", kernel.name);
            }
        }
    }
}
