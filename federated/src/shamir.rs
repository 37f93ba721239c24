//! Shamir's sharing of vectors of small integers modulo a prime: any t of h shares give the vector, t - 1 are uniform.
//!
//! Points are 1, 2, .., h. Sums of shares are shares of sums.

use blindvox_engine::Prng;
use blindvox_engine::ring::sampler::fill_residues;
use blindvox_engine::rlwe::wire;
use zeroize::Zeroizing;

use crate::error::{Error, Result};

/// A vector modulo p, cleared when dropped.
pub type Residues = Zeroizing<Vec<u32>>;

/// The primes that sharing works with; arithmetic by a constant takes the same time for all values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// 65521: sums up to 32760 in absolute value.
    Bits16,
    /// 2^24 - 3: up to 8,388,606.
    Bits24,
}

const P16: u64 = 65521;
const P24: u64 = (1 << 24) - 3;

impl Field {
    /// The smaller one that holds sums of so large an absolute value.
    pub fn holding(largest: u64) -> Option<Self> {
        [Self::Bits16, Self::Bits24].into_iter().find(|f| largest <= f.prime() / 2)
    }

    /// p.
    pub fn prime(self) -> u64 {
        match self {
            Self::Bits16 => P16,
            Self::Bits24 => P24,
        }
    }

    fn bits(self) -> u32 {
        match self {
            Self::Bits16 => 16,
            Self::Bits24 => 24,
        }
    }

    fn reduce(self, x: u64) -> u32 {
        match self {
            Self::Bits16 => (x % P16) as u32,
            Self::Bits24 => (x % P24) as u32,
        }
    }

    /// Bytes of a vector of `len` residues.
    pub fn len(self, len: usize) -> usize {
        wire::packed_len(len, self.bits())
    }

    /// The bytes of a vector.
    pub fn pack(self, residues: &[u32]) -> Zeroizing<Vec<u8>> {
        let words: Zeroizing<Vec<u64>> = Zeroizing::new(residues.iter().map(|&x| u64::from(x)).collect());
        let mut out = Zeroizing::new(Vec::with_capacity(self.len(residues.len())));
        wire::pack(&words, self.bits(), &mut out);
        out
    }

    /// Reads `len` residues.
    ///
    /// # Errors
    /// [`Error::Message`] for another length and for what is not reduced.
    pub fn unpack(self, bytes: &[u8], len: usize) -> Result<Residues> {
        let words = Zeroizing::new(wire::unpack(bytes, self.bits(), len).map_err(|e| Error::message(e.to_string()))?);
        if words.iter().fold(false, |any, &w| any | (w >= self.prime())) {
            return Err(Error::message("a share is not reduced"));
        }
        Ok(Zeroizing::new(words.iter().map(|&w| w as u32).collect()))
    }

    /// `sum += x`, coefficient by coefficient.
    pub fn add(self, sum: &mut [u32], x: &[u32]) {
        sum.iter_mut().zip(x).for_each(|(sum, x)| *sum = self.reduce(u64::from(*sum) + u64::from(*x)));
    }

    /// Shares small integers: share j - 1 of the result is for point j.
    pub fn share(self, secret: &[i32], threshold: usize, holders: usize, prng: &mut Prng) -> Vec<Residues> {
        let p = self.prime();
        let lifted = |x: &i32| self.reduce((i64::from(*x) + p as i64) as u64);
        let mut coefficients = vec![Zeroizing::new(secret.iter().map(lifted).collect::<Vec<u32>>())];
        for _ in 1..threshold {
            let mut row = Zeroizing::new(vec![0; secret.len()]);
            fill_residues(prng, p as u32, &mut row);
            coefficients.push(row);
        }
        let share = |point: u64| {
            let mut sum = Zeroizing::new(vec![0u32; secret.len()]);
            for row in coefficients.iter().rev() {
                let horner = |(sum, c): (&mut u32, &u32)| *sum = self.reduce(u64::from(*sum) * point + u64::from(*c));
                sum.iter_mut().zip(row.iter()).for_each(horner);
            }
            sum
        };
        (1..=holders as u64).map(share).collect()
    }

    /// What shares at distinct points come to, in (-p/2, p/2).
    pub fn combine(self, shares: &[(usize, &[u32])]) -> Zeroizing<Vec<i32>> {
        let (p, len) = (self.prime(), shares.first().map_or(0, |(_, share)| share.len()));
        let mut sum = Zeroizing::new(vec![0u32; len]);
        for &(point, share) in shares {
            let others = shares.iter().map(|(other, _)| *other as u64).filter(|&other| other != point as u64);
            // prod l / (l - j) mod p, of points alone.
            let factor = others.fold(1, |product, other| {
                let difference = (other + p - point as u64) % p;
                product * other % p * self.inverse(difference) % p
            });
            let term = |(sum, x): (&mut u32, &u32)| *sum = self.reduce(u64::from(*sum) + factor * u64::from(*x));
            sum.iter_mut().zip(share).for_each(term);
        }
        let centred = |&x: &u32| (i64::from(x) - p as i64 * i64::from(u64::from(x) > p / 2)) as i32;
        Zeroizing::new(sum.iter().map(centred).collect())
    }

    /// By Fermat; for points alone.
    fn inverse(self, x: u64) -> u64 {
        let p = self.prime();
        let bits = (0..u64::BITS - (p - 2).leading_zeros()).rev();
        bits.fold(1, |power, bit| {
            let square = power * power % p;
            if (p - 2) >> bit & 1 == 1 { square * x % p } else { square }
        })
    }
}

/// The subsets of `size` of `0..count`, in order.
pub fn subsets(count: usize, size: usize) -> impl Iterator<Item = Vec<usize>> {
    let mut next = (size <= count).then(|| (0..size).collect::<Vec<usize>>());
    std::iter::from_fn(move || {
        let current = next.take()?;
        let mut after = current.clone();
        if let Some(i) = (0..size).rev().find(|&i| after[i] < count - size + i) {
            after[i] += 1;
            (i + 1..size).for_each(|j| after[j] = after[i] + j - i);
            next = Some(after);
        }
        Some(current)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_t_shares_give_the_vector_and_fewer_do_not() {
        let mut prng = Prng::from_seed_for_tests([2; 32]);
        for field in [Field::Bits16, Field::Bits24] {
            let secret: Vec<i32> = vec![0, 1, -1, 84, -84, (field.prime() / 2) as i32, -((field.prime() / 2) as i32)];
            for (t, h) in [(1, 1), (2, 3), (3, 5), (9, 16), (16, 16)] {
                let shares = field.share(&secret, t, h, &mut prng);
                for chosen in subsets(h, t).step_by(97) {
                    let parts: Vec<_> = chosen.iter().map(|&i| (i + 1, &shares[i][..])).collect();
                    assert_eq!(*field.combine(&parts), secret, "{t} of {h}: {chosen:?}");
                    if t > 1 {
                        assert_ne!(*field.combine(&parts[1..]), secret);
                    }
                }
            }
        }
    }

    #[test]
    fn sums_of_shares_are_shares_of_sums() {
        let mut prng = Prng::from_seed_for_tests([3; 32]);
        let field = Field::holding(84 * 389).unwrap();
        assert_eq!((field, Field::holding(84 * 391)), (Field::Bits16, Some(Field::Bits24)));
        let mut sums = vec![vec![0u32; 3]; 3];
        for _ in 0..389 {
            let shares = field.share(&[84, -84, 1], 2, 3, &mut prng);
            sums.iter_mut().zip(&shares).for_each(|(sum, share)| field.add(sum, share));
        }
        let parts = [(1, &sums[0][..]), (3, &sums[2][..])];
        assert_eq!(*field.combine(&parts), [84 * 389, -84 * 389, 389]);
    }

    #[test]
    fn shares_read_back_and_others_are_refused() {
        for field in [Field::Bits16, Field::Bits24] {
            let residues = [0, 1, field.prime() as u32 - 1];
            let bytes = field.pack(&residues);
            assert_eq!((bytes.len(), &*field.unpack(&bytes, 3).unwrap()), (field.len(3), &residues.to_vec()));
            assert!(field.unpack(&bytes[1..], 3).is_err() && field.unpack(&vec![0xff; field.len(3)], 3).is_err());
        }
    }

    #[test]
    fn subsets_are_all_there() {
        assert_eq!(subsets(4, 2).count(), 6);
        assert_eq!(subsets(3, 3).collect::<Vec<_>>(), [[0, 1, 2]]);
        assert_eq!(subsets(2, 3).count(), 0);
        assert_eq!(subsets(16, 9).count(), 11440);
    }

    /// One share of a secret is uniform, whatever the secret is.
    #[test]
    fn a_share_alone_says_nothing() {
        let mut prng = Prng::from_seed_for_tests([4; 32]);
        let share = &Field::Bits16.share(&vec![84; 1 << 16], 2, 3, &mut prng)[0];
        let mut counts = [0f64; 64];
        share.iter().for_each(|&x| counts[x as usize * 64 / P16 as usize] += 1.0);
        let chi2: f64 = counts.iter().map(|c| (c - 1024.0f64).powi(2) / 1024.0).sum();
        assert!((20.0..130.0).contains(&chi2), "{chi2}");
    }
}
