//! The kernels of one prime on one body: each method runs the function of its arithmetic.

use super::body::Body;
use super::gemm::{Panel, Side};
use super::groups::width;
use super::panels::{Order, exchange};
use super::scalar;
use crate::backend::GemmShape;
use crate::ring::modulus::MAX_BITS;
use crate::ring::{Modulus, NttTable, Prime};
use crate::simd::wide;

#[cfg(target_arch = "x86_64")]
use super::{avx2, dq, gemm_dq, gemm_ifma, ifma, rows256, twiddles, vec512};
#[cfg(target_arch = "x86_64")]
use crate::ring::ntt_table::Factor;

/// How one prime's kernels run, and its roots in the form they read.
pub(super) enum Arithmetic {
    /// Any prime, any dimension.
    Scalar,
    /// Four lanes of AVX2: primes below 2^60.
    #[cfg(target_arch = "x86_64")]
    Avx2(avx2::Constants),
    /// 52-bit products: primes below 2^50.
    #[cfg(target_arch = "x86_64")]
    Ifma(twiddles::Roots),
    /// 64-bit products built of 32-bit ones: primes below 2^60.
    #[cfg(target_arch = "x86_64")]
    Dq(twiddles::Roots),
}

/// One prime on one body.
pub(super) struct Limb {
    prime: Prime,
    arithmetic: Arithmetic,
}

impl Limb {
    pub(super) fn new(body: Body, prime: &Prime) -> Self {
        Self { prime: prime.clone(), arithmetic: Self::arithmetic(body, prime.roots()) }
    }

    /// Bytes of its roots, the shared ones included.
    pub(super) fn bytes(&self) -> usize {
        let own = match &self.arithmetic {
            #[cfg(target_arch = "x86_64")]
            Arithmetic::Ifma(roots) | Arithmetic::Dq(roots) => roots.bytes(),
            _ => 0,
        };
        self.prime.roots().bytes() + own
    }

    #[cfg(target_arch = "x86_64")]
    fn arithmetic(body: Body, table: &NttTable) -> Arithmetic {
        if body == Body::Scalar || table.n() < twiddles::MIN_N.max(avx2::MIN_N) {
            return Arithmetic::Scalar;
        }
        if body == Body::Avx2 {
            Arithmetic::Avx2(avx2::Constants::new(table))
        } else if table.modulus().bits() <= ifma::MAX_BITS && is_x86_feature_detected!("avx512ifma") {
            Arithmetic::Ifma(twiddles::Roots::new(table, ifma::COMPANION_SHIFT))
        } else {
            Arithmetic::Dq(twiddles::Roots::new(table, 0))
        }
    }

    #[cfg(not(target_arch = "x86_64"))]
    fn arithmetic(_: Body, _: &NttTable) -> Arithmetic {
        Arithmetic::Scalar
    }

    /// The ring dimension.
    pub(super) fn n(&self) -> usize {
        self.prime.n()
    }

    /// The prime.
    pub(super) fn modulus(&self) -> Modulus {
        self.prime.modulus()
    }

    /// The forward transform of `a`, in place: `order` is that of the points.
    pub(super) fn forward(&self, a: &mut [u64], order: Order) {
        match &self.arithmetic {
            Arithmetic::Scalar => self.prime.roots().forward(a),
            #[cfg(target_arch = "x86_64")]
            // SAFETY: this arithmetic is only chosen on a processor with AVX2.
            Arithmetic::Avx2(constants) => unsafe { avx2::forward_transform(self.prime.roots(), constants, a) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: this arithmetic is only chosen on a processor that has its features.
            Arithmetic::Ifma(roots) => return unsafe { ifma::forward_transform(roots, a, order) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: this arithmetic is only chosen on a processor that has its features.
            Arithmetic::Dq(roots) => return unsafe { dq::forward_transform(roots, a, order) },
        }
        if order == Order::Panel {
            exchange(a);
        }
    }

    /// The inverse transform of `a`, in place: `order` is that of the points.
    pub(super) fn inverse(&self, a: &mut [u64], order: Order) {
        match &self.arithmetic {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: this arithmetic is only chosen on a processor that has its features.
            Arithmetic::Ifma(roots) => return unsafe { ifma::inverse_transform(roots, a, order) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: this arithmetic is only chosen on a processor that has its features.
            Arithmetic::Dq(roots) => return unsafe { dq::inverse_transform(roots, a, order) },
            _ if order == Order::Panel => exchange(a),
            _ => {}
        }
        match &self.arithmetic {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: this arithmetic is only chosen on a processor with AVX2.
            Arithmetic::Avx2(constants) => unsafe { avx2::inverse_transform(self.prime.roots(), constants, a) },
            _ => self.prime.roots().inverse(a),
        }
    }

    /// `a += b`.
    pub(super) fn add(&self, a: &mut [u64], b: &[u64]) {
        match &self.arithmetic {
            Arithmetic::Scalar => scalar::add(self.modulus(), a, b),
            #[cfg(target_arch = "x86_64")]
            // SAFETY: this arithmetic is only chosen on a processor with AVX2.
            Arithmetic::Avx2(_) => unsafe { rows256::add(self.modulus().value(), a, b) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: these arithmetics are only chosen on a processor with AVX-512.
            Arithmetic::Ifma(roots) | Arithmetic::Dq(roots) => unsafe { vec512::add(roots.q, a, b) },
        }
    }

    /// `a -= b`.
    pub(super) fn sub(&self, a: &mut [u64], b: &[u64]) {
        match &self.arithmetic {
            Arithmetic::Scalar => scalar::sub(self.modulus(), a, b),
            #[cfg(target_arch = "x86_64")]
            // SAFETY: this arithmetic is only chosen on a processor with AVX2.
            Arithmetic::Avx2(_) => unsafe { rows256::sub(self.modulus().value(), a, b) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: these arithmetics are only chosen on a processor with AVX-512.
            Arithmetic::Ifma(roots) | Arithmetic::Dq(roots) => unsafe { vec512::sub(roots.q, a, b) },
        }
    }

    /// `a = -a`.
    pub(super) fn negate(&self, a: &mut [u64]) {
        match &self.arithmetic {
            Arithmetic::Scalar => scalar::negate(self.modulus(), a),
            #[cfg(target_arch = "x86_64")]
            // SAFETY: this arithmetic is only chosen on a processor with AVX2.
            Arithmetic::Avx2(_) => unsafe { rows256::negate(self.modulus().value(), a) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: these arithmetics are only chosen on a processor with AVX-512.
            Arithmetic::Ifma(roots) | Arithmetic::Dq(roots) => unsafe { vec512::negate(roots.q, a) },
        }
    }

    /// `a *= b`; a `b` of one panel line repeats.
    pub(super) fn mul(&self, a: &mut [u64], b: &[u64]) {
        match &self.arithmetic {
            Arithmetic::Scalar => scalar::mul(self.modulus(), a, b),
            #[cfg(target_arch = "x86_64")]
            // SAFETY: this arithmetic is only chosen on a processor with AVX2.
            Arithmetic::Avx2(c) => unsafe { rows256::mul_row(self.modulus().value(), c, a, b) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: this arithmetic is only chosen on a processor that has its features.
            Arithmetic::Ifma(roots) => unsafe { ifma::mul_row(roots, a, b) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: this arithmetic is only chosen on a processor that has its features.
            Arithmetic::Dq(roots) => unsafe { dq::mul_row(roots, a, b) },
        }
    }

    /// `acc += a * b`; a `b` of one panel line repeats.
    pub(super) fn mul_add(&self, acc: &mut [u64], a: &[u64], b: &[u64]) {
        match &self.arithmetic {
            Arithmetic::Scalar => scalar::mul_add(self.modulus(), acc, a, b),
            #[cfg(target_arch = "x86_64")]
            // SAFETY: this arithmetic is only chosen on a processor with AVX2.
            Arithmetic::Avx2(c) => unsafe { rows256::mul_add_row(self.modulus().value(), c, acc, a, b) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: this arithmetic is only chosen on a processor that has its features.
            Arithmetic::Ifma(roots) => unsafe { ifma::mul_add_row(roots, acc, a, b) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: this arithmetic is only chosen on a processor that has its features.
            Arithmetic::Dq(roots) => unsafe { dq::mul_add_row(roots, acc, a, b) },
        }
    }

    /// `a *= scalar`.
    pub(super) fn mul_scalar(&self, a: &mut [u64], scalar: u64) {
        match &self.arithmetic {
            Arithmetic::Scalar => scalar::mul_scalar(self.modulus(), a, scalar),
            #[cfg(target_arch = "x86_64")]
            Arithmetic::Avx2(c) => {
                let factor = Factor { value: scalar, shoup: self.modulus().shoup(scalar) };
                // SAFETY: this arithmetic is only chosen on a processor with AVX2.
                unsafe { rows256::mul_scalar(self.modulus().value(), c, a, &factor) }
            }
            #[cfg(target_arch = "x86_64")]
            // SAFETY: this arithmetic is only chosen on a processor that has its features.
            Arithmetic::Ifma(roots) => unsafe { ifma::mul_scalar_row(roots, a, &roots.factor(scalar)) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: this arithmetic is only chosen on a processor that has its features.
            Arithmetic::Dq(roots) => unsafe { dq::mul_scalar_row(roots, a, &roots.factor(scalar)) },
        }
    }

    /// `a = values`.
    pub(super) fn lift(&self, a: &mut [u64], values: &[i32]) {
        let q = self.modulus().value();
        if q <= 1 << 31 {
            // Magnitudes may be above it.
            a.fill(0);
            return self.add_lifted(a, values, 1);
        }
        wide(|| {
            for (a, &v) in a.iter_mut().zip(values) {
                let v = i64::from(v);
                *a = (v + ((v >> 63) & q as i64)) as u64;
            }
        });
    }

    /// `acc += values * scale`.
    pub(super) fn add_lifted(&self, acc: &mut [u64], values: &[i32], scale: u64) {
        match &self.arithmetic {
            Arithmetic::Scalar => scalar::add_lifted(self.modulus(), acc, values, scale),
            #[cfg(target_arch = "x86_64")]
            Arithmetic::Avx2(_) => scalar::add_lifted(self.modulus(), acc, values, scale),
            #[cfg(target_arch = "x86_64")]
            // SAFETY: this arithmetic is only chosen on a processor that has its features.
            Arithmetic::Ifma(roots) => unsafe { ifma::add_lifted_row(roots, acc, values, &roots.factor(scale)) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: this arithmetic is only chosen on a processor that has its features.
            Arithmetic::Dq(roots) => unsafe { dq::add_lifted_row(roots, acc, values, &roots.factor(scale)) },
        }
    }

    /// `x = (x - [last]) / q_last` with `[last]` the representative nearest zero.
    pub(super) fn drop_limb(&self, q_last: Modulus, x: &mut [u64], last: &[u64]) {
        #[cfg(target_arch = "x86_64")]
        {
            let inverse = || self.modulus().inv(self.modulus().reduce(q_last.value()));
            match &self.arithmetic {
                // Magnitudes up to half of the last prime must be below 2^52.
                Arithmetic::Ifma(roots) if q_last.bits() <= 53 => {
                    // SAFETY: this arithmetic is only chosen on a processor that has its features.
                    return unsafe { ifma::drop_limb_row(roots, q_last.value(), &roots.factor(inverse()), x, last) };
                }
                Arithmetic::Dq(roots) => {
                    // SAFETY: as above.
                    return unsafe { dq::drop_limb_row(roots, q_last.value(), &roots.factor(inverse()), x, last) };
                }
                _ => {}
            }
        }
        scalar::drop_limb(self.modulus(), q_last, x, last);
    }

    /// Whether [`Self::dots`] takes words of so many bits.
    pub(super) fn multiplies(&self, bits: u32) -> bool {
        match &self.arithmetic {
            #[cfg(target_arch = "x86_64")]
            Arithmetic::Ifma(_) => bits <= ifma::MAX_BITS,
            _ => bits <= MAX_BITS,
        }
    }

    /// `out[c] = sum over k of left[k] * right[k][c]`, of words of up to `bits` bits that [`Self::multiplies`] takes; a
    /// `left` of one line repeats.
    pub(super) fn dots<const C: usize>(
        &self,
        bits: u32,
        left: &[&[u64]],
        right: &[[&[u64]; C]],
        mut out: [&mut [u64]; C],
    ) {
        let q = self.modulus();
        match &self.arithmetic {
            _ if !self.multiplies(bits) => scalar::dots(q, left, right, out),
            Arithmetic::Scalar => scalar::dots(q, left, right, out),
            #[cfg(target_arch = "x86_64")]
            // SAFETY: this arithmetic is only chosen on a processor with AVX2.
            Arithmetic::Avx2(c) => unsafe { rows256::dots((q, c, bits.max(q.bits())), left, right, out) },
            #[cfg(target_arch = "x86_64")]
            Arithmetic::Ifma(roots) => {
                for (piece, (left, right)) in left.chunks(128).zip(right.chunks(128)).enumerate() {
                    let out = out.each_mut().map(|o| &mut **o);
                    // SAFETY: this arithmetic is only chosen on a processor that has its features.
                    unsafe { gemm_ifma::dots(roots, left, right, out, piece > 0) };
                }
            }
            #[cfg(target_arch = "x86_64")]
            Arithmetic::Dq(roots) => {
                for (piece, (left, right)) in left.chunks(64).zip(right.chunks(64)).enumerate() {
                    let out = out.each_mut().map(|o| &mut **o);
                    // SAFETY: as above.
                    unsafe { gemm_dq::dots(roots, left, right, out, piece > 0) };
                }
            }
        }
    }

    /// The matrix product of one panel, entries being its lines; `packed` is scratch space.
    pub(super) fn gemm(&self, size: GemmShape, panel: Panel<'_>, packed: &mut Vec<u64>) {
        match &self.arithmetic {
            Arithmetic::Scalar => panel.sides.into_iter().for_each(|Side { x, y }| {
                scalar::gemm(self.modulus(), size, width(self.n()), panel.w, x, y);
            }),
            #[cfg(target_arch = "x86_64")]
            // SAFETY: this arithmetic is only chosen on a processor with AVX2.
            Arithmetic::Avx2(c) => unsafe { rows256::gemm(self.modulus().value(), c, size, panel) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: this arithmetic is only chosen on a processor that has its features.
            Arithmetic::Ifma(roots) => unsafe { gemm_ifma::gemm(roots, size, panel, packed) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: this arithmetic is only chosen on a processor that has its features.
            Arithmetic::Dq(roots) => unsafe { gemm_dq::gemm(roots, size, panel, packed) },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ring::primes::{DEFAULT_50, DEFAULT_60};

    #[test]
    fn rows_are_the_definitions_rows() {
        for primes in [&DEFAULT_50[..2], &DEFAULT_60[..2]] {
            let [prime, last] = [0, 1].map(|i| Prime::new(512, primes[i]).unwrap());
            let q = prime.modulus();
            let values: Vec<i32> = (0..512).map(|i| [0, 1, -1, i32::MAX, i32::MIN, 77 * i][i as usize % 6]).collect();
            let [x, y] = [3, 5].map(|s| (0..512).map(|i| q.reduce((i + 1) * s * 0x9e37_79b9_7f4a)).collect::<Vec<_>>());
            for body in Body::available() {
                let t = Limb::new(body, &prime);
                let run = |f: &dyn Fn(&mut [u64])| {
                    let mut row = x.clone();
                    f(&mut row);
                    row
                };
                assert_eq!(run(&|a| t.forward(a, Order::Canonical)), run(&|a| prime.roots().forward(a)));
                assert_eq!(run(&|a| t.inverse(a, Order::Canonical)), run(&|a| prime.roots().inverse(a)));
                assert_eq!(run(&|a| t.mul(a, &y)), run(&|a| scalar::mul(q, a, &y)));
                assert_eq!(run(&|a| t.mul_add(a, &y, &x)), run(&|a| scalar::mul_add(q, a, &y, &x)));
                assert_eq!(run(&|a| t.add(a, &y)), run(&|a| scalar::add(q, a, &y)));
                assert_eq!(run(&|a| t.sub(a, &y)), run(&|a| scalar::sub(q, a, &y)));
                assert_eq!(run(&|a| t.negate(a)), run(&|a| scalar::negate(q, a)));
                let scaled = |scale| run(&|a| scalar::add_lifted(q, a, &values, scale));
                assert_eq!(run(&|a| t.add_lifted(a, &values, 12345)), scaled(12345));
                let lifted = |a: &mut [u64]| a.iter_mut().zip(&values).for_each(|(a, &v)| *a = q.from_signed(v.into()));
                assert_eq!(run(&|a| t.lift(a, &values)), run(&lifted));
                let dropped = |a: &mut [u64]| scalar::drop_limb(q, last.modulus(), a, &y);
                assert_eq!(run(&|a| t.drop_limb(last.modulus(), a, &y)), run(&dropped));
            }
        }
    }
}
