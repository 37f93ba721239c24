//! Conversions from one basis to another and of integers to residues. Both are sums of rows times constants of the
//! target prime.

use std::sync::Arc;

use super::body::Body;
use super::buffer::{CpuBuffer, Layout};
use super::groups::width;
use super::limb::Limb;
use super::tables::CpuTables;
use super::{Cpu, for_each_chunk, scalar};
use crate::backend::{Integers, Limbs, Shape};
use crate::error::Result;
use crate::ring::{Basis, Conversion, Modulus};
use crate::simd::wide;

/// Bits of the pieces of integers: residues of every arithmetic.
const PIECE: u32 = 50;

/// `out = sum of constants[k] * rows[k]`, of words of up to `bits` bits, 60 at most.
pub(super) fn weighted_sum(limb: &Limb, bits: u32, constants: &[u64], rows: &[&[u64]], out: &mut [u64]) {
    let width = width(out.len());
    let lines: Vec<u64> = constants.iter().flat_map(|&c| std::iter::repeat_n(c, width)).collect();
    let left: Vec<&[u64]> = lines.chunks_exact(width).collect();
    let right: Vec<[&[u64]; 1]> = rows.iter().map(|&row| [row]).collect();
    limb.dots(bits, &left, &right, [out]);
}

/// v of the y_i of primes.
pub(super) fn quotients(limbs: &[Arc<Limb>], conversion: &Conversion, ys: &[&[u64]], v: &mut [u64]) {
    if let ([limb], [y]) = (limbs, ys) {
        let half = limb.modulus().value() / 2;
        return wide(|| v.iter_mut().zip(*y).for_each(|(v, &y)| *v = u64::from(y > half)));
    }
    v.fill(0);
    for (i, (limb, y)) in limbs.iter().zip(ys).enumerate() {
        add_fractions(limb.modulus(), conversion.ratio(i), y, v);
    }
    wide(|| v.iter_mut().for_each(|v| *v = (*v + (1 << 31)) >> 32));
}

/// Bits of the widest prime.
pub(super) fn widest(limbs: &[Arc<Limb>]) -> u32 {
    limbs.iter().map(|limb| limb.modulus().bits()).max().unwrap_or_default()
}

/// y_i of every prime, then v, of each polynomial.
struct Terms {
    rows: CpuBuffer,
    count: usize,
    bits: u32,
}

impl Terms {
    /// Those of polynomial `poly`.
    fn of(&self, poly: usize, n: usize) -> Vec<&[u64]> {
        self.rows.words()[poly * self.count * n..][..self.count * n].chunks_exact(n).collect()
    }
}

impl Cpu {
    pub(super) fn conversion(&self, from: &Basis, to: &Basis) -> Result<Arc<Conversion>> {
        let mut known = self.conversions.lock().unwrap_or_else(|e| e.into_inner());
        let key = (from.clone(), to.clone());
        if let Some(conversion) = known.get(&key) {
            return Ok(conversion.clone());
        }
        let conversion = Arc::new(Conversion::new(from, to)?);
        known.insert(key, conversion.clone());
        Ok(conversion)
    }

    /// Of polynomials whose limb `i` is `row(poly, i)`.
    fn terms<'a>(
        limbs: &[Arc<Limb>],
        conversion: &Conversion,
        batch: usize,
        row: impl Fn(usize, usize) -> &'a [u64] + Send + Sync,
    ) -> Terms {
        let (n, count) = (conversion.from().n(), limbs.len() + 1);
        let mut rows = CpuBuffer::new(batch * count * n, Layout::Rows);
        for_each_chunk(rows.words_mut(), count * n, |poly, words| {
            let (ys, v) = words.split_at_mut(limbs.len() * n);
            for (i, (y, limb)) in ys.chunks_exact_mut(n).zip(limbs).enumerate() {
                y.copy_from_slice(row(poly, i));
                scale(limb, conversion, i, y);
            }
            quotients(limbs, conversion, &ys.chunks_exact(n).collect::<Vec<_>>(), v);
        });
        Terms { rows, count, bits: widest(limbs) }
    }

    pub(super) fn convert(
        &self,
        t: &CpuTables,
        to: &CpuTables,
        shape: Shape,
        from: Limbs<'_, CpuBuffer>,
    ) -> Result<CpuBuffer> {
        let (n, words) = (shape.n, from.buffer.words());
        let conversion = self.conversion(&t.basis, &to.basis)?;
        let terms = Self::terms(&t.limbs, &conversion, shape.batch, |poly, i| {
            &words[(poly * from.limbs + from.map[i]) * n..][..n]
        });
        let mut out = CpuBuffer::new(shape.words(), Layout::Rows);
        for_each_chunk(out.words_mut(), n, |row, out| {
            let (poly, limb) = (row / shape.limbs, row % shape.limbs);
            weighted_sum(&to.limbs[limb], terms.bits, conversion.weights(limb), &terms.of(poly, n), out);
        });
        Ok(out)
    }

    pub(super) fn divide(&self, t: &CpuTables, shape: Shape, kept: usize, x: &CpuBuffer) -> Result<CpuBuffer> {
        let Shape { batch, limbs, n } = shape;
        let row = |poly: usize, limb: usize| &x.words()[(poly * limbs + limb) * n..][..n];
        let mut out = CpuBuffer::new(batch * kept * n, Layout::Rows);
        if limbs == kept + 1 {
            for_each_chunk(out.words_mut(), n, |i, out| {
                let (poly, limb) = (i / kept, i % kept);
                out.copy_from_slice(row(poly, limb));
                t.limbs[limb].drop_limb(t.modulus(kept), out, row(poly, kept));
            });
            return Ok(out);
        }
        let conversion = self.conversion(&t.basis.range(kept..limbs)?, &t.basis.level(kept)?)?;
        let terms = Self::terms(&t.limbs[kept..], &conversion, batch, |poly, i| row(poly, kept + i));
        for_each_chunk(out.words_mut(), n, |i, out| {
            let (poly, at) = (i / kept, i % kept);
            weighted_sum(&t.limbs[at], terms.bits, conversion.weights(at), &terms.of(poly, n), out);
            finish_division(&t.limbs[at], &conversion, at, row(poly, at), out);
        });
        Ok(out)
    }

    pub(super) fn residues(&self, t: &CpuTables, shape: Shape, values: Integers<'_>) -> CpuBuffer {
        let Shape { batch, limbs, n } = shape;
        let mut out = CpuBuffer::new(shape.words(), Layout::Rows);
        if self.body == Body::Scalar {
            for_each_chunk(out.words_mut(), n, |row, out| {
                scalar::reduce(t.modulus(row % limbs), values, row / limbs * n, out);
            });
            return out;
        }
        // Offset by half of the range, so that no sign is left, and cut in pieces; the last row takes the offset off
        // again.
        let (sign, pieces) = match values {
            Integers::One(_) => (63, 2),
            Integers::Two(_) => (127, 3),
        };
        let mut rows = CpuBuffer::new(batch * (pieces + 1) * n, Layout::Rows);
        for_each_chunk(rows.words_mut(), n, |row, out| {
            let (poly, piece) = (row / (pieces + 1), row % (pieces + 1));
            let shift = PIECE * piece as u32;
            let cut = |x: u128| (x >> shift) as u64 & ((1 << PIECE) - 1);
            match values {
                _ if piece == pieces => out.fill(1),
                Integers::One(x) => {
                    let x = &x[poly * n..][..n];
                    wide(|| out.iter_mut().zip(x).for_each(|(out, &x)| *out = cut((x as u64 ^ 1 << 63).into())));
                }
                Integers::Two(x) => {
                    let x = &x[poly * n..][..n];
                    out.iter_mut().zip(x).for_each(|(out, &x)| *out = cut(x as u128 ^ 1 << 127));
                }
            }
        });
        let constants = |limb: &Arc<Limb>| {
            let q = limb.modulus();
            let powers = (0..pieces as u32).map(|k| q.reduce_wide(1 << (PIECE * k)));
            powers.chain([q.neg(q.reduce_wide(1 << sign))]).collect()
        };
        let constants: Vec<Vec<u64>> = t.limbs.iter().map(constants).collect();
        let terms = Terms { rows, count: pieces + 1, bits: PIECE };
        for_each_chunk(out.words_mut(), n, |row, out| {
            let (poly, limb) = (row / limbs, row % limbs);
            weighted_sum(&t.limbs[limb], terms.bits, &constants[limb], &terms.of(poly, n), out);
        });
        out
    }
}

/// x_i to y_i, of a prime that is one of several.
pub(super) fn scale(limb: &Limb, conversion: &Conversion, i: usize, x: &mut [u64]) {
    if conversion.from().len() > 1 {
        limb.mul_scalar(x, conversion.inverses()[i].value);
    }
}

/// `out = (x - out) / D` in limb `at`.
pub(super) fn finish_division(limb: &Limb, conversion: &Conversion, at: usize, x: &[u64], out: &mut [u64]) {
    limb.negate(out);
    limb.add(out, x);
    limb.mul_scalar(out, conversion.quotients()[at].value);
}

/// Adds u for every y below m, of at least 30 bits.
fn add_fractions(m: Modulus, ratio: u64, y: &[u64], sums: &mut [u64]) {
    let shift = m.bits() - 30;
    // 30-bit times 31-bit.
    wide(|| sums.iter_mut().zip(y).for_each(|(u, &y)| *u += ((y >> shift) * ratio) >> 28));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::Memory;
    use crate::ring::primes::ntt_primes;

    /// The known answer of the method's reference.
    #[test]
    fn converts_the_known_answer() {
        let n = 64;
        let from = Basis::new(n, &[0xffff_ffff_c001, 0xffff_fffe_e001]).unwrap();
        let to = Basis::new(n, &[0xffff_fffd_f801, 0xffff_fffd_f001, 0x3_ffff_ffff_c001]).unwrap();
        let residues = [185_378_962_468_958u64, 70_807_184_862_582];
        let expected = [273_830_325_981_520, 28_474_268_006_416, 283_036_398_694_086];
        for body in Body::available() {
            let cpu = Cpu::with_body(body).unwrap();
            let (t, to) = (cpu.tables(&from).unwrap(), cpu.tables(&to).unwrap());
            let mut x = CpuBuffer::new(2 * n, Layout::Rows);
            x.words_mut().chunks_exact_mut(n).zip(residues).for_each(|(row, x)| row.fill(x));
            let view = Limbs { buffer: &x, limbs: 2, map: &[0, 1] };
            let out = cpu.convert(&t, &to, Shape { batch: 1, limbs: 3, n }, view).unwrap();
            assert!(out.words().chunks_exact(n).zip(expected).all(|(row, e)| row.iter().all(|&x| x == e)), "{body:?}");
        }
    }

    /// Conversion and division of integers around zero, the quotients' midpoints and the ends, against wide integers.
    #[test]
    fn conversions_and_divisions_are_those_of_integers() {
        let n = 64;
        let primes = |bits: &[u32]| -> Vec<u64> {
            bits.iter().enumerate().map(|(i, &b)| ntt_primes(b, n, i + 1).unwrap()[i]).collect()
        };
        for (from, to) in [(vec![50], vec![40, 60]), (vec![60, 59], vec![50, 30]), (vec![31, 30, 45], vec![60, 36, 50])]
        {
            let dropped = primes(&from);
            let kept: Vec<u64> = primes(&[vec![55; from.len()], to.clone()].concat())[from.len()..].to_vec();
            let d: i128 = dropped.iter().map(|&m| i128::from(m)).product();
            let values: Vec<i128> =
                (0..n as i128).map(|i| [i, -i, d / 2 - (d >> 20) - i, (d >> 20) - d / 2 + i][i as usize % 4]).collect();
            let residues = |primes: &[u64], x: &[i128]| -> Vec<u64> {
                primes.iter().flat_map(|&q| x.iter().map(move |x| x.rem_euclid(q.into()) as u64)).collect()
            };
            let all = Basis::new(n, &[&kept[..], &dropped].concat()).unwrap();
            for body in Body::available() {
                let cpu = Cpu::with_body(body).unwrap();
                let t = |basis: &Basis| cpu.tables(basis).unwrap();
                let (from, to) = (all.range(kept.len()..all.len()).unwrap(), all.level(kept.len()).unwrap());
                let upload = |words: &[u64]| {
                    let mut x = CpuBuffer::new(words.len(), Layout::Rows);
                    x.words_mut().copy_from_slice(words);
                    x
                };
                let (x, map) = (upload(&residues(&dropped, &values)), (0..from.len()).collect::<Vec<_>>());
                let view = Limbs { buffer: &x, limbs: from.len(), map: &map };
                let out = cpu.convert(&t(&from), &t(&to), Shape { batch: 1, limbs: to.len(), n }, view).unwrap();
                assert_eq!(out.words(), residues(&kept, &values), "{body:?}, from {dropped:?}");
                // 5 D + x and -3 D + x, divided.
                for quotient in [5i128, -3] {
                    let sums: Vec<i128> = values.iter().map(|x| quotient * d + x).collect();
                    let x = upload(&residues(&all.values(), &sums));
                    let out = cpu.divide(&t(&all), Shape { batch: 1, limbs: all.len(), n }, kept.len(), &x).unwrap();
                    assert_eq!(out.words(), residues(&kept, &vec![quotient; n]), "{body:?}, by {dropped:?}");
                }
            }
        }
        let narrow = Basis::new(64, &[257, ntt_primes(50, 64, 1).unwrap()[0]]).unwrap();
        assert!(Conversion::new(&narrow, &narrow).is_err());
        assert!(Conversion::new(&narrow.level(1).unwrap(), &narrow).is_ok());
    }

    #[test]
    fn integers_are_reduced_on_every_body() {
        let n = 64;
        let basis = Basis::new(n, &[ntt_primes(60, n, 1).unwrap()[0], ntt_primes(50, n, 1).unwrap()[0], 257]).unwrap();
        let ends = [0, 1, -1, i128::MAX, i128::MIN, 1 << 64, -(1 << 50), (1 << 100) - 1];
        let two: Vec<i128> =
            (0..2 * n as i128).map(|i| ends[i as usize % 8].wrapping_add((i / 8) << (i % 120))).collect();
        let one: Vec<i64> = two.iter().map(|&x| x as i64).chain([i64::MIN, i64::MAX]).skip(2).collect();
        let shape = Shape { batch: 2, limbs: 3, n };
        for body in Body::available() {
            let cpu = Cpu::with_body(body).unwrap();
            let t = cpu.tables(&basis).unwrap();
            let expected = |x: &dyn Fn(usize) -> i128| -> Vec<u64> {
                let residue = |i: usize| x(i / (3 * n) * n + i % n).rem_euclid(basis.modulus(i / n % 3).value().into());
                (0..6 * n).map(|i| residue(i) as u64).collect()
            };
            assert_eq!(cpu.residues(&t, shape, Integers::One(&one)).words(), expected(&|i| one[i].into()), "{body:?}");
            assert_eq!(cpu.residues(&t, shape, Integers::Two(&two)).words(), expected(&|i| two[i]), "{body:?}");
        }
    }
}
