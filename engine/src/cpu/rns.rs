//! Conversions from one basis to another and of integers to residues. Both are sums of rows times constants of the
//! target prime, which every body takes as a matrix product of one row.

use std::sync::Arc;

use rayon::prelude::*;
use zeroize::Zeroizing;

use super::body::Body;
use super::buffer::{CpuBuffer, Layout};
use super::groups::width;
use super::limb::Limb;
use super::tables::CpuTables;
use super::{Cpu, SERIAL_WORDS, for_each_chunk, scalar};
use crate::backend::{Integers, Limbs, Shape};
use crate::error::Result;
use crate::ring::{Basis, Conversion, Modulus};
use crate::simd::wide;

/// Bits of the pieces of integers: residues of every arithmetic.
const PIECE: u32 = 50;

/// Scratch space of a thread: what the matrix product packs, and a row.
type Scratch = (Zeroizing<Vec<u64>>, Zeroizing<Vec<u64>>);

/// Rows of words below 2^60, `[batch, terms, n]`, and the constants they are multiplied by, `[limbs][terms]`.
struct Terms {
    body: Body,
    rows: CpuBuffer,
    count: usize,
    /// Bits of the widest word.
    bits: u32,
    constants: Vec<Vec<u64>>,
}

impl Terms {
    /// The sum of polynomial `poly`'s rows modulo limb number `at`.
    fn sum(&self, limb: &Limb, poly: usize, at: usize, packed: &mut Vec<u64>, out: &mut [u64]) {
        let size = self.count * out.len();
        let (rows, constants) = (&self.rows.words()[poly * size..][..size], &self.constants[at]);
        if self.body == Body::Scalar || !limb.multiplies(self.bits) {
            return scalar::sum_of_rows(limb.modulus(), constants, rows, out);
        }
        let lines: Vec<u64> = constants.iter().flat_map(|&c| std::iter::repeat_n(c, width(out.len()))).collect();
        limb.combine(&lines, rows, out, packed);
    }
}

/// Calls `f(scratch, row, words)` for every row of n words.
fn for_each_row(words: &mut [u64], n: usize, f: impl Fn(&mut Scratch, usize, &mut [u64]) + Send + Sync) {
    let scratch = || (Zeroizing::default(), Zeroizing::new(vec![0; n]));
    if words.len() <= SERIAL_WORDS {
        let mut scratch = scratch();
        words.chunks_mut(n).enumerate().for_each(|(i, row)| f(&mut scratch, i, row));
    } else {
        words.par_chunks_mut(n).enumerate().for_each_init(scratch, |scratch, (i, row)| f(scratch, i, row));
    }
}

impl Cpu {
    fn conversion(&self, from: &Basis, to: &Basis) -> Result<Arc<Conversion>> {
        let mut known = self.conversions.lock().unwrap_or_else(|e| e.into_inner());
        let key = (from.clone(), to.clone());
        if let Some(conversion) = known.get(&key) {
            return Ok(conversion.clone());
        }
        let conversion = Arc::new(Conversion::new(from, to)?);
        known.insert(key, conversion.clone());
        Ok(conversion)
    }

    /// y_i for every source prime, then v, of polynomials whose limb `i` is `row(poly, i)`.
    fn terms<'a>(
        &self,
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
                let q = limb.modulus();
                if limbs.len() == 1 {
                    wide(|| v.iter_mut().zip(&*y).for_each(|(v, &y)| *v = u64::from(y > q.value() / 2)));
                    return;
                }
                limb.mul_scalar(y, conversion.inverses()[i].value);
                add_fractions(q, conversion.ratio(i), y, v);
            }
            wide(|| v.iter_mut().for_each(|v| *v = (*v + (1 << 31)) >> 32));
        });
        let constants = (0..conversion.to().len()).map(|p| conversion.weights(p).to_vec()).collect();
        let bits = limbs.iter().map(|limb| limb.modulus().bits()).max().unwrap_or_default();
        Terms { body: self.body, rows, count, bits, constants }
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
        let terms = self
            .terms(&t.limbs, &conversion, shape.batch, |poly, i| &words[(poly * from.limbs + from.map[i]) * n..][..n]);
        let mut out = CpuBuffer::new(shape.words(), Layout::Rows);
        for_each_row(out.words_mut(), n, |(packed, _), row, out| {
            let (poly, limb) = (row / shape.limbs, row % shape.limbs);
            terms.sum(&to.limbs[limb], poly, limb, packed, out);
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
        let terms = self.terms(&t.limbs[kept..], &conversion, batch, |poly, i| row(poly, kept + i));
        for_each_row(out.words_mut(), n, |(packed, converted), i, out| {
            let (poly, at) = (i / kept, i % kept);
            let limb = &t.limbs[at];
            terms.sum(limb, poly, at, packed, converted);
            out.copy_from_slice(row(poly, at));
            limb.sub(out, converted);
            limb.mul_scalar(out, conversion.quotients()[at].value);
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
        let constants = t.limbs.iter().map(constants).collect();
        let terms = Terms { body: self.body, rows, count: pieces + 1, bits: PIECE, constants };
        for_each_row(out.words_mut(), n, |(packed, _), row, out| {
            let (poly, limb) = (row / limbs, row % limbs);
            terms.sum(&t.limbs[limb], poly, limb, packed, out);
        });
        out
    }
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
