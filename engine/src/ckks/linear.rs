//! Linear maps of slots: a matrix by its diagonals, baby steps and giant steps.
//!
//! With d_k\[i\] = M\[i\]\[i + k\], M x = sum over k of d_k rot_k(x). Offsets k = g + b fall into giant steps g and
//! baby steps b:
//!
//! ```text
//! M x = sum over g of rot_g( sum over b of rot_-g(d_(g + b)) rot_b(x) )
//! ```
//!
//! The source is decomposed once for all baby steps, which stay over Q P, undivided; the inner sums are one matrix product
//! over Q P, of plaintexts times rotated ciphertexts; a giant step divides one polynomial by P, to decompose it; and one
//! division by P and by the primes that the map drops takes the sum of all exactly to the target's scale.

use std::collections::{BTreeMap, BTreeSet};

use super::ciphertext::Ciphertext;
use super::complex::Complex;
use super::encoding::Encoder;
use super::evaluator::Evaluator;
use super::noise;
use super::params::Params;
use super::rotation::{Rotations, missing};
use crate::GemmShape;
use crate::device::Device;
use crate::error::{Error, Result};
use crate::poly::{PolyBatch, Rows};
use crate::rlwe::key_switch::rotation_element;
use crate::rlwe::wire;

/// A linear map of vectors of `slots` values.
pub struct LinearMap {
    slots: usize,
    real: bool,
    diagonals: BTreeMap<usize, Vec<Complex>>,
    /// Baby steps are 0..baby, giant steps its multiples.
    baby: usize,
}

/// A linear map's plaintexts for sources of one level and scale, and one target scale.
pub struct PreparedMap {
    slots: usize,
    level: usize,
    /// The scale of the source and of the result.
    scales: [f64; 2],
    /// That of the plaintexts.
    omega: f64,
    dropped: usize,
    babies: Vec<usize>,
    giants: Vec<usize>,
    /// Over Q P, for each giant step a polynomial for each baby step.
    plaintexts: PolyBatch<Rows>,
    /// Sum over a row of the absolute values, at most; root of the sum of the squares of the diagonals' largest values.
    norms: [f64; 2],
    terms: usize,
}

impl LinearMap {
    /// By the diagonals d_k\[i\] = M\[i\]\[i + k mod slots\], for k below `slots`.
    ///
    /// # Errors
    /// [`Error::Shape`] for none, for a wrong length or an offset that is too large.
    pub fn from_diagonals(slots: usize, diagonals: BTreeMap<usize, Vec<Complex>>) -> Result<Self> {
        let wrong = diagonals.iter().find(|(k, d)| **k >= slots || d.len() != slots);
        if diagonals.is_empty() || wrong.is_some() {
            return Err(Error::Shape(format!("diagonals {:?} of {slots} slots", diagonals.keys())));
        }
        let real = diagonals.values().flatten().all(|z| z.im == 0.0);
        let offsets: Vec<usize> = diagonals.keys().copied().collect();
        let sizes = (0..=slots.ilog2()).map(|bits| 1 << bits);
        let baby = sizes.min_by_key(|&baby| price(&offsets, baby)).expect("one at least");
        Ok(Self { slots, real, diagonals, baby })
    }

    /// By a matrix of `rows` rows, row by row, in a square of a power of two of values: the source repeats its values,
    /// as many as there are columns and then zeros. Diagonals that are zero everywhere are kept, so that what is
    /// computed says nothing of the values.
    ///
    /// # Errors
    /// [`Error::Shape`] for an empty matrix or rows of different lengths.
    pub fn from_matrix(rows: usize, matrix: &[f64]) -> Result<Self> {
        let columns = matrix.len().checked_div(rows).unwrap_or(0);
        if columns == 0 || columns * rows != matrix.len() {
            return Err(Error::Shape(format!("{} values for {rows} rows", matrix.len())));
        }
        let slots = rows.max(columns).next_power_of_two();
        let value = |i: usize, k: usize| {
            let j = (i + k) % slots;
            if i < rows && j < columns { matrix[i * columns + j].into() } else { Complex::default() }
        };
        let diagonal = |k| (k, (0..slots).map(|i| value(i, k)).collect());
        Self::from_diagonals(slots, (0..slots).map(diagonal).collect())
    }

    /// Values of its vectors.
    pub fn slots(&self) -> usize {
        self.slots
    }

    /// The rotations that it takes: (for keys, before they are made).
    pub fn rotations(&self) -> Rotations {
        let steps = self.babies().into_iter().chain(self.giants()).filter(|&step| step != 0);
        Rotations::exact(&steps.map(|step| step as i64).collect::<Vec<_>>())
    }

    fn babies(&self) -> Vec<usize> {
        let all: BTreeSet<usize> = self.diagonals.keys().map(|k| k % self.baby).collect();
        all.into_iter().collect()
    }

    fn giants(&self) -> Vec<usize> {
        let all: BTreeSet<usize> = self.diagonals.keys().map(|k| k - k % self.baby).collect();
        all.into_iter().collect()
    }

    /// The product in the clear.
    ///
    /// # Errors
    /// [`Error::Shape`] for another number of values.
    pub fn apply_in_the_clear(&self, x: &[Complex]) -> Result<Vec<Complex>> {
        if x.len() != self.slots {
            return Err(Error::Shape(format!("{} values for a map of {}", x.len(), self.slots)));
        }
        let mut y = vec![Complex::default(); self.slots];
        for (k, d) in &self.diagonals {
            y.iter_mut().enumerate().for_each(|(i, y)| *y += d[i] * x[(i + k) % self.slots]);
        }
        Ok(y)
    }

    /// The plaintexts for a source at `level` and `scale`, with a result at scale `target`, `dropped` primes lower.
    ///
    /// # Errors
    /// [`Error::Parameters`] unless a prime is left, and where the plaintexts' scale would be below 2^10.
    pub fn prepare(
        &self,
        params: &Params,
        device: &Device,
        (level, scale): (usize, f64),
        (target, dropped): (f64, usize),
    ) -> Result<PreparedMap> {
        if dropped >= level {
            return Err(Error::Parameters(format!("a linear map that drops {dropped} primes at level {level}")));
        }
        let (basis, extended) = (params.basis().level(level)?, params.extended(level)?);
        let drop = (level - dropped..level).map(|i| basis.modulus(i).value() as f64);
        let omega = drop.fold(target / scale, |omega, q| omega * q);
        if omega < 1024.0 {
            return Err(Error::Parameters(format!(
                "a linear map to scale 2^{:.1} from 2^{:.1} at level {level}: weights would have {:.1} bits",
                target.log2(),
                scale.log2(),
                omega.log2()
            )));
        }
        let largest = self.diagonals.values().flatten().fold(0.0, |most: f64, z| most.max(z.abs()));
        let encoder =
            Encoder::new(params).with_slots(self.slots)?.with_bound(largest.max(f64::MIN_POSITIVE) * 1.000_001);
        let babies = self.babies();
        let giants = self.giants();
        let points = |g: usize, b: usize| match self.diagonals.get(&(g + b)) {
            None => PolyBatch::zeros(device, &extended, 1),
            Some(d) => {
                // Rotated by -g.
                let d: Vec<Complex> = (0..self.slots).map(|i| d[(i + self.slots - g) % self.slots]).collect();
                let text = if self.real {
                    encoder.real(&d.iter().map(|z| z.re).collect::<Vec<_>>(), omega)?
                } else {
                    encoder.complex(&d, omega)?
                };
                text.fits(&basis)?;
                text.points(device, &extended)
            }
        };
        let all = giants.iter().flat_map(|&g| babies.iter().map(move |&b| (g, b)));
        let plaintexts = all.map(|(g, b)| points(g, b)).collect::<Result<Vec<_>>>()?;
        let plaintexts = PolyBatch::stack(&plaintexts.iter().collect::<Vec<_>>())?;
        let row = |i: usize| self.diagonals.values().map(|d| d[i].abs()).sum::<f64>();
        let most = (0..self.slots).map(row).fold(0.0, f64::max);
        let squares = self.diagonals.values().map(|d| d.iter().fold(0.0, |most: f64, z| most.max(z.abs())).powi(2));
        Ok(PreparedMap {
            slots: self.slots,
            level,
            scales: [scale, target],
            omega,
            dropped,
            giants,
            plaintexts,
            babies,
            norms: [most, squares.sum::<f64>().sqrt()],
            terms: self.diagonals.len(),
        })
    }
}

const MAGIC: &[u8; 8] = b"bvckkslm";
/// Magic, slots, whether values are complex, diagonals.
const HEAD: usize = 8 + 4 + 1 + 4;
/// Values of a vector at most: those of the largest ring.
const MOST_SLOTS: usize = 1 << 15;

impl LinearMap {
    /// Slots, whether values are complex, and by diagonal its offset and values.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        out.extend((self.slots as u32).to_le_bytes());
        out.push(u8::from(!self.real));
        out.extend((self.diagonals.len() as u32).to_le_bytes());
        for (&offset, diagonal) in &self.diagonals {
            out.extend((offset as u32).to_le_bytes());
            diagonal.iter().for_each(|z| out.extend(z.re.to_le_bytes()));
            if !self.real {
                diagonal.iter().for_each(|z| out.extend(z.im.to_le_bytes()));
            }
        }
        out
    }

    /// Reads what [`Self::to_bytes`] wrote. Nothing is allocated before the length is known to be right.
    ///
    /// # Errors
    /// [`Error::Decode`] for anything else.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let bad = |what: String| Error::Decode(format!("linear map: {what}"));
        let mut reader = wire::Reader::new(bytes);
        if reader.array()? != *MAGIC {
            return Err(bad("not written by this version".to_owned()));
        }
        let slots = u32::from_le_bytes(reader.array()?) as usize;
        let [complex] = reader.array()?;
        let count = u32::from_le_bytes(reader.array()?) as usize;
        if !(1..=MOST_SLOTS).contains(&slots) || !(1..=slots).contains(&count) || complex > 1 {
            return Err(bad(format!("{count} diagonals of {slots} slots, kind {complex}")));
        }
        let expected = HEAD + count * (4 + 8 * slots * (1 + usize::from(complex)));
        if bytes.len() != expected {
            return Err(bad(format!("{} bytes where {expected} were expected", bytes.len())));
        }
        let mut diagonals = BTreeMap::new();
        for _ in 0..count {
            let offset = u32::from_le_bytes(reader.array()?) as usize;
            let mut numbers = || -> Result<Vec<f64>> {
                let words = reader.take(8 * slots)?.as_chunks::<8>().0;
                Ok(words.iter().map(|w| f64::from_le_bytes(*w)).collect())
            };
            let (re, im) = (numbers()?, if complex == 1 { numbers()? } else { vec![0.0; slots] });
            let diagonal: Vec<Complex> = re.into_iter().zip(im).map(|(re, im)| Complex::new(re, im)).collect();
            if !diagonal.iter().all(|z| z.is_finite()) || diagonals.last_key_value().is_some_and(|(k, _)| *k >= offset)
            {
                return Err(bad(format!("diagonal {offset} is out of order or not finite")));
            }
            diagonals.insert(offset, diagonal);
        }
        Self::from_diagonals(slots, diagonals).map_err(|e| bad(e.to_string()))
    }
}

/// What the rotations of a map cost, baby steps being 1: they take a product with a key, giant steps transforms besides.
fn price(offsets: &[usize], baby: usize) -> usize {
    const GIANT: usize = 4;
    let babies: BTreeSet<usize> = offsets.iter().map(|k| k % baby).filter(|&b| b != 0).collect();
    let giants: BTreeSet<usize> = offsets.iter().map(|k| k - k % baby).filter(|&g| g != 0).collect();
    babies.len() + GIANT * giants.len()
}

impl PreparedMap {
    /// Bytes of its plaintexts.
    pub fn memory(&self) -> usize {
        let basis = self.plaintexts.basis();
        self.plaintexts.batch() * basis.len() * basis.n() * size_of::<u64>()
    }

    /// The scale of its plaintexts.
    pub fn omega(&self) -> f64 {
        self.omega
    }
}

impl Evaluator {
    /// The map of x, at its target scale and level.
    ///
    /// # Errors
    /// [`Error::Parameters`] unless x has the level, scale and slots that the map was prepared for, without a key for
    /// one of its rotations, and where the result may wrap around.
    pub fn linear(&self, x: &Ciphertext, map: &PreparedMap) -> Result<Ciphertext> {
        let [scale, target] = map.scales;
        if x.level() != map.level || (x.scale / scale - 1.0).abs() > 1e-12 || x.slots != map.slots {
            return Err(Error::Parameters(format!(
                "a map for level {}, scale 2^{:.6} and {} slots, given level {}, scale 2^{:.6} and {}",
                map.level,
                scale.log2(),
                map.slots,
                x.level(),
                x.scale.log2(),
                x.slots
            )));
        }
        let rotated = self.rotated_times_p(x, &map.babies)?;
        let size = GemmShape { rows: map.giants.len(), inner: map.babies.len(), cols: 2 };
        let [sums] = map.plaintexts.gemm([&rotated], size)?;
        drop(rotated);
        let pair = self.giant_steps(map, &sums)?.mod_down(map.level - map.dropped)?;
        let mut out = x.with(pair)?;
        (out.scale, out.bound) = (target, (x.bound * map.norms[0]).max(f64::MIN_POSITIVE));
        out.error = self.error_of(x, map);
        out.flood = x.flood * map.norms[1];
        out.checked()
    }

    /// P times x rotated by each step, over Q P: two polynomials each.
    fn rotated_times_p(&self, x: &Ciphertext, steps: &[usize]) -> Result<PolyBatch<Rows>> {
        let hoisted = self.hoist(x)?.hoisted;
        let rotated = steps.iter().map(|&step| match step {
            0 => {
                let mut same = PolyBatch::zeros(&self.device, &self.params.extended(x.level())?, 2)?;
                same.add_scaled(&x.pair, &self.params.special_scalars(x.level()))?;
                Ok(same)
            }
            _ => {
                let element = rotation_element(self.params.n(), step as i64);
                let rotated = self.keys()?.whole_automorphism_times_p(&hoisted, element);
                rotated.map_err(|e| missing(step as i64, x.level(), &e))
            }
        });
        let rotated = rotated.collect::<Result<Vec<_>>>()?;
        PolyBatch::stack(&rotated.iter().collect::<Vec<_>>())
    }

    /// The sum of the rotations of two polynomials each, P times it over Q P as they are.
    fn giant_steps(&self, map: &PreparedMap, sums: &PolyBatch<Rows>) -> Result<PolyBatch<Rows>> {
        let mut total = PolyBatch::zeros(&self.device, sums.basis(), 2)?;
        for (i, &g) in map.giants.iter().enumerate() {
            if g == 0 {
                total.add_assign(&sums.extract(2 * i..2 * i + 2)?)?;
                continue;
            }
            let second = sums.extract(2 * i + 1..2 * i + 2)?.mod_down(map.level)?;
            let element = rotation_element(self.params.n(), g as i64);
            let switched = self.keys()?.automorphism_of_sum(&sums.extract(2 * i..2 * i + 1)?, &second, element);
            total.add_assign(&switched.map_err(|e| missing(g as i64, map.level, &e))?)?;
        }
        Ok(total)
    }

    /// Terms and baby steps are taken for independent, as are the errors of slots; weights at most as large as the
    /// largest of their diagonal.
    fn error_of(&self, x: &Ciphertext, map: &PreparedMap) -> f64 {
        let [_, weights] = map.norms;
        let baby = noise::together(&[x.error, noise::switching_undivided(&self.params, map.level, x.scale)]);
        let rounded = x.bound * noise::encoding(&self.params, map.omega) * (map.terms as f64).sqrt();
        let inner = noise::switching(&self.params, map.level, x.scale * map.omega) * (map.giants.len() as f64).sqrt();
        let last = noise::rounding(&self.params, map.scales[1]);
        noise::together(&[weights * baby, rounded, inner, last])
    }
}
