//! Sums of products with real plaintexts, whose coefficients are mirrored, a_(n - i) = -a_i: their points are, too, so
//! half of them are computed, and each plaintext is transformed where it is used, in its core's cache.
//!
//! The first half of the points is the transform of what remains modulo X^(n/2) - psi^(n/2). With X = Y / psi that is a
//! negacyclic transform of half the dimension with the root psi^2, of
//!
//! ```text
//! b_i = a_i psi^-i - a_(n/2 - i) psi^(n/2 - i)        a_(n/2) = 0
//! ```
//!
//! and point n - 1 - i is point i, in the order of panels as well.

use std::ops::Range;
use std::sync::Arc;

use rayon::prelude::*;

use super::buffer::{CpuBuffer, Layout};
use super::limb::Limb;
use super::panels::Order;
use super::{Cpu, CpuTables};
use crate::backend::{MirroredSums, PART_BITS};
use crate::ring::{Modulus, Prime};

/// The smallest dimension whose halves are whole blocks of panels.
pub(super) const LEAST_N: usize = 128;
/// Plaintexts of a row that are transformed before products of them are summed.
const TOGETHER: usize = 16;
/// Rows whose sums are taken together, so that sources come from memory once for all of them.
const ROWS: usize = 4;
/// Words of rows whose products are summed at a time: those of all plaintexts and sources stay in the second cache.
const PIECE: usize = 512;
/// Rows of scratch space lie a line more than a power of two apart: else they would share one cache set.
const APART: usize = 8;

/// What a prime needs to transform mirrored polynomials.
pub(super) struct Half {
    limb: Limb,
    /// By part of the coefficients: factors of a_i and of a_(n/2 - i).
    twists: Vec<[Vec<u64>; 2]>,
}

/// Scratch rows of a thread.
struct Scratch {
    /// Points of [`TOGETHER`] plaintexts of [`ROWS`] rows.
    points: CpuBuffer,
    /// Parts of the coefficients, forwards and reversed.
    lifted: CpuBuffer,
    /// Pieces of sources.
    sources: CpuBuffer,
    sums: CpuBuffer,
}

impl Half {
    fn new(cpu: &Cpu, prime: &Prime) -> Self {
        let (q, roots, half) = (prime.modulus(), prime.roots(), prime.n() / 2);
        // psi^-i = -psi^(n - i).
        let down = |i: usize| if i == 0 { 1 } else { q.neg(roots.power(2 * half - i)) };
        let across = |i: usize| if i == 0 { 0 } else { q.neg(roots.power(half - i)) };
        let twist = |part: usize| {
            let factor = shift(q, part);
            let row = |f: &dyn Fn(usize) -> u64| (0..half).map(|i| q.mul(f(i), factor)).collect();
            [row(&down), row(&across)]
        };
        Self { limb: Limb::new(cpu.body, &prime.halved()), twists: (0..MirroredSums::MOST_PARTS).map(twist).collect() }
    }

    /// The points of a plaintext by the parts of its coefficients.
    fn points(&self, parts: &[Vec<i32>], lifted: &mut [u64], out: &mut [u64]) {
        let half = self.limb.n();
        for (rows, part) in lifted.chunks_exact_mut(2 * half).zip(parts) {
            let (up, down) = rows.split_at_mut(half);
            self.limb.lift(up, part);
            down[0] = 0;
            down[1..].iter_mut().zip(up[1..].iter().rev()).for_each(|(d, u)| *d = *u);
        }
        let left: Vec<&[u64]> = lifted.chunks_exact(half).take(2 * parts.len()).collect();
        let right: Vec<[&[u64]; 1]> = self.twists[..parts.len()].iter().flatten().map(|twist| [&twist[..]]).collect();
        let (low, high) = out.split_at_mut(half);
        self.limb.dots(self.limb.modulus().bits(), &left, &right, [low]);
        self.limb.forward(low, Order::Panel);
        high.iter_mut().zip(low.iter().rev()).for_each(|(h, l)| *h = *l);
    }
}

/// What a part stands for.
fn shift(q: Modulus, part: usize) -> u64 {
    q.reduce_wide(1 << (PART_BITS * part as u32))
}

impl Cpu {
    fn half(&self, prime: &Prime) -> Arc<Half> {
        let mut known = self.halves.lock().unwrap_or_else(|e| e.into_inner());
        known.entry(prime.clone()).or_insert_with(|| Arc::new(Half::new(self, prime))).clone()
    }

    /// For each row and job of `sums` two polynomials.
    pub(super) fn mirrored(&self, t: &CpuTables, sums: &MirroredSums<'_>, sources: &[&CpuBuffer]) -> Vec<CpuBuffer> {
        let (limbs, n) = (t.limbs.len(), t.n);
        let halves: Vec<Arc<Half>> = t.basis.primes().iter().map(|prime| self.half(prime)).collect();
        let count = sums.rows.len() * sums.jobs;
        let mut out: Vec<CpuBuffer> = (0..count).map(|_| CpuBuffer::new(2 * limbs * n, Layout::Rows)).collect();
        // By limb, then rows together: what reads the same limb of the sources runs at the same time.
        let packs = sums.rows.len().div_ceil(ROWS);
        let mut tasks: Vec<Vec<[&mut [u64]; 2]>> = (0..limbs * packs).map(|_| Vec::new()).collect();
        for (i, pair) in out.iter_mut().enumerate() {
            let (first, second) = pair.words_mut().split_at_mut(limbs * n);
            let rows = first.chunks_exact_mut(n).zip(second.chunks_exact_mut(n));
            rows.enumerate().for_each(|(limb, (a, b))| tasks[limb * packs + i / sums.jobs / ROWS].push([a, b]));
        }
        let piece = PIECE.min(n);
        let scratch = || Scratch {
            points: CpuBuffer::new(ROWS * TOGETHER * (n + APART), Layout::Rows),
            lifted: CpuBuffer::new(MirroredSums::MOST_PARTS * n, Layout::Rows),
            sources: CpuBuffer::new(2 * TOGETHER * (piece + APART), Layout::Rows),
            sums: CpuBuffer::new(2 * piece, Layout::Rows),
        };
        tasks.into_par_iter().enumerate().for_each_init(scratch, |scratch, (i, out)| {
            let (limb, first) = (i / packs, i % packs * ROWS);
            let row_of = |source: usize, poly: usize| &sources[source].words()[(poly * limbs + limb) * n..][..n];
            let task = Task { limb: &t.limbs[limb], half: &halves[limb], sums, first, row_of: &row_of };
            task.run(scratch, out);
        });
        out
    }
}

/// The sums of a few rows in one limb, for each job.
struct Task<'t, 's> {
    limb: &'t Limb,
    half: &'t Half,
    sums: &'t MirroredSums<'t>,
    /// The first of the rows.
    first: usize,
    /// A polynomial of a source.
    row_of: &'t dyn Fn(usize, usize) -> &'s [u64],
}

impl<'s> Task<'_, 's> {
    /// Adds to `out`, by row and job.
    fn run(&self, scratch: &mut Scratch, mut out: Vec<[&mut [u64]; 2]>) {
        let n = self.limb.n();
        let piece = PIECE.min(n);
        let rows = self.first..self.first + out.len() / self.sums.jobs;
        for from in (0..self.sums.sources.len()).step_by(TOGETHER) {
            let terms = from..self.sums.sources.len().min(from + TOGETHER);
            let plains: Vec<_> = self.sums.rows[rows.clone()].iter().map(|row| &row[terms.clone()]).collect();
            let places = scratch.points.words_mut().chunks_exact_mut(n + APART);
            for (plain, points) in plains.iter().flat_map(|row| row.iter()).zip(places) {
                if let Some(plain) = plain {
                    self.half.points(self.sums.plains[*plain], scratch.lifted.words_mut(), &mut points[..n]);
                }
            }
            for at in (0..n).step_by(piece) {
                for job in 0..self.sums.jobs {
                    let present = self.load((terms.clone(), job), at, scratch.sources.words_mut());
                    for (r, plains) in plains.iter().enumerate() {
                        self.add(scratch, (plains, r), (&present, at), &mut out[r * self.sums.jobs + job]);
                    }
                }
            }
        }
    }

    /// Copies the pieces at `at` of a job's sources; which of the terms have one.
    fn load(&self, (terms, job): (Range<usize>, usize), at: usize, pieces: &mut [u64]) -> Vec<usize> {
        let piece = PIECE.min(self.limb.n());
        let mut present = Vec::with_capacity(terms.len());
        let places = pieces.chunks_exact_mut(2 * (piece + APART));
        for ((k, term), pair) in terms.enumerate().zip(places) {
            let Some(source) = self.sums.sources[term][job] else { continue };
            for (poly, to) in pair.chunks_exact_mut(piece + APART).enumerate() {
                let row: &'s [u64] = (self.row_of)(source, poly);
                to[..piece].copy_from_slice(&row[at..at + piece]);
            }
            present.push(k);
        }
        present
    }

    /// Adds the products of one row at the pieces that were loaded.
    fn add(
        &self,
        scratch: &mut Scratch,
        (plains, r): (&[Option<usize>], usize),
        (present, at): (&[usize], usize),
        out: &mut [&mut [u64]; 2],
    ) {
        let n = self.limb.n();
        let piece = PIECE.min(n);
        let points = |k: usize| &scratch.points.words()[(r * plains.len() + k) * (n + APART) + at..][..piece];
        let source = |i: usize| &scratch.sources.words()[i * (piece + APART)..][..piece];
        let used = present.iter().filter(|&&k| plains[k].is_some());
        let (left, right): (Vec<&[u64]>, Vec<[&[u64]; 2]>) =
            used.map(|&k| (points(k), [source(2 * k), source(2 * k + 1)])).unzip();
        if left.is_empty() {
            return;
        }
        let (first, second) = scratch.sums.words_mut().split_at_mut(piece);
        self.limb.dots(self.limb.modulus().bits(), &left, &right, [&mut *first, &mut *second]);
        for (out, sum) in out.iter_mut().zip([first, second]) {
            self.limb.add(&mut out[at..at + piece], sum);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::Memory;
    use crate::cpu::{Body, scalar};
    use crate::ring::Basis;
    use crate::ring::primes::{DEFAULT_50, DEFAULT_60};

    /// Sums of whole plaintexts' products, transformed by the scalar reference.
    #[test]
    fn sums_are_those_of_whole_plaintexts() {
        for (n, primes) in [(128, [DEFAULT_50[0], DEFAULT_60[0]]), (1024, [DEFAULT_50[1], DEFAULT_50[0]])] {
            let basis = Basis::new(n, &primes).unwrap();
            let word = |i: i32, salt: i32, k: i32| (i * 7919 + salt * 31).wrapping_mul((i - 40) * k);
            let part = |salt: i32, k: i32| (0..n as i32 / 2).map(|i| word(i, salt, k)).collect();
            let texts: Vec<Vec<Vec<i32>>> =
                (0..11).map(|p| (0..1 + p % 3).map(|k| part(p, k * 3 - 2)).collect()).collect();
            let source = |salt: u64| -> Vec<u64> {
                let word = |i: usize| basis.modulus(i / n % 2).reduce((i as u64 + salt) * 0x9e37_79b9_7f4a);
                (0..4 * n).map(word).collect()
            };
            // More terms and rows than are taken together; some plaintexts and some sources are missing.
            let rows = (0..6).map(|r| (0..19).map(|k| (k % 5 != r).then_some((k * 3 + r) % 11)).collect()).collect();
            let of = (0..19).map(|k| vec![Some(k % 3), (k != 4).then_some(2 - k % 3)]).collect();
            let plains = texts.iter().map(Vec::as_slice).collect();
            let sums = MirroredSums { plains, sources: of, rows, jobs: 2 };
            let sources = [source(1), source(2), source(3)];
            for body in Body::available() {
                let cpu = Cpu::with_body(body).unwrap();
                let t = cpu.tables(&basis).unwrap();
                let buffers = sources.each_ref().map(|words| {
                    let mut buffer = CpuBuffer::new(words.len(), Layout::Rows);
                    buffer.words_mut().copy_from_slice(words);
                    buffer
                });
                let made = cpu.mirrored(&t, &sums, &buffers.each_ref());
                assert_eq!(made.len(), 12);
                for (i, made) in made.iter().enumerate() {
                    for (at, row) in made.words().chunks_exact(n).enumerate() {
                        let (poly, limb) = (at / 2, at % 2);
                        let mut expected = vec![0; n];
                        for (plain, of) in sums.rows[i / 2].iter().zip(&sums.sources) {
                            let (Some(plain), Some(source)) = (*plain, of[i % 2]) else { continue };
                            let points = whole(&t.limbs[limb], &texts[plain]);
                            let source = &sources[source][(2 * poly + limb) * n..][..n];
                            scalar::mul_add(basis.modulus(limb), &mut expected, &points, source);
                        }
                        assert!(row == expected, "{body:?}, n = {n}, sums {i}, row {at}");
                    }
                }
            }
        }
    }

    /// The points of all coefficients.
    fn whole(limb: &Limb, parts: &[Vec<i32>]) -> Vec<u64> {
        let (q, half) = (limb.modulus(), limb.n() / 2);
        let value = |i: usize| {
            let each = parts.iter().enumerate();
            each.fold(0, |sum, (k, part)| q.add(sum, q.mul(q.from_signed(part[i].into()), shift(q, k))))
        };
        let mut points = vec![0; 2 * half];
        points[0] = value(0);
        for i in 1..half {
            points[i] = value(i);
            points[2 * half - i] = q.neg(value(i));
        }
        limb.forward(&mut points, Order::Panel);
        points
    }
}
