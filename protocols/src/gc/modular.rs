//! Circuits on words modulo an odd prime p of k bits, and those of the non-linear layers on shares modulo p.
//!
//! Shares enter in a form that the garbler prepares for nothing, as its inputs cost no bytes: it enters n = p - x_S,
//! from 1 to p, so that x = x_C - n mod p is a subtraction and, where that borrows, an addition of p. ([`entered`]
//! makes it.)
//!
//! The sign of x, whose negative values are the residues above p/2, is the lowest bit of 2x mod p, as p is odd: both
//! parties double their shares, and the lowest bit of a difference mod p takes its borrow alone. A comparison costs
//! what it does mod 2^k, and its circuit does not depend on p.
//!
//! Maxima are taken of x + (p - 1)/2, which is in the order of unsigned words; the garbler adds that to its shares.
//!
//! | circuit | ANDs at most | for p = 2^32 - 2^20 + 1 |
//! |---|---|---|
//! | difference mod p | 2k - 1 | 63 |
//! | sum mod p | 3k - 3 | 92 |
//! | [`sign`]: is x_C + x_S mod p not above p/2 | k | 32 |
//! | [`relu`]: reconstruct, compare, select, re-share | 6k - 4 | 188 |
//! | [`max`] of w: reconstruct, compare, select, re-share | (w + 1)(2k - 1) + 2k(w - 1) | 63(w + 1) + 64(w - 1) |
//! | [`argmax`] of c: reconstruct, compare, select value and index | c(2k - 1) + k(2c - 3) + index, as mod 2^k | 127c - 96 + index |

use super::circuit::{Bit, Builder, Circuit};
use crate::share::Ring;

/// Bits of a residue.
pub fn width(p: u32) -> usize {
    (u32::BITS - p.leading_zeros()) as usize
}

/// What the garbler enters for its share of a value that `offset` is to be added to.
pub fn entered(share: u32, offset: u32, p: u32) -> u32 {
    p - Ring::Prime(p).add(share, offset)
}

/// What takes signed order to the order of unsigned words: (p - 1)/2.
pub fn bias(p: u32) -> u32 {
    p / 2
}

fn constant(value: u32, k: usize) -> Vec<Bit> {
    (0..k).map(|i| Bit::constant(value >> i & 1 == 1)).collect()
}

impl Builder {
    /// x - y mod p for x below p and y at most p.
    pub fn difference_mod(&mut self, x: &[Bit], y: &[Bit], p: u32) -> Vec<Bit> {
        let difference = self.difference(x, y);
        let borrow = self.less_unsigned(x, y);
        let correction: Vec<_> =
            constant(p, x.len()).into_iter().map(|bit| if bit == Bit::ONE { borrow } else { Bit::ZERO }).collect();
        self.sum(&difference, &correction)
    }

    /// x + y mod p for x and y below p.
    pub fn sum_mod(&mut self, x: &[Bit], y: &[Bit], p: u32) -> Vec<Bit> {
        let negated = self.difference(&constant(p, y.len()), y);
        self.difference_mod(x, &negated, p)
    }

    /// The values behind `count` shared ones, as [`entered`], from input 0 on.
    fn reconstruct_mod(&mut self, count: usize, p: u32) -> Vec<Vec<Bit>> {
        let k = width(p);
        (0..count)
            .map(|i| {
                let (n, x) = (self.garbler(i * k..(i + 1) * k), self.evaluator(i * k..(i + 1) * k));
                self.difference_mod(&x, &n, p)
            })
            .collect()
    }
}

/// Output 1 bit: 1 where x, read as signed, is not negative. Inputs for p of k bits: 2x_S mod p as [`entered`]; 2x_C
/// mod p.
pub fn sign(k: usize) -> Circuit {
    let mut b = Builder::new(k, k);
    let (n, x) = (b.garbler(0..k), b.evaluator(0..k));
    let borrow = b.less_unsigned(&x, &n);
    let low = b.xor(x[0], n[0]);
    let odd = b.xor(low, borrow);
    b.finish(vec![!odd])
}

/// max(x, 0) + r mod p. Inputs: the garbler's share and then its r, both as [`entered`]; the evaluator's share.
pub fn relu(p: u32) -> Circuit {
    let k = width(p);
    let mut b = Builder::new(2 * k, k);
    let x = b.reconstruct_mod(1, p).remove(0);
    let negative = b.less_unsigned(&constant(bias(p), k), &x);
    // Half of p has one bit less.
    let mut y: Vec<_> = x[..k - 1].iter().map(|&bit| b.and(!negative, bit)).collect();
    y.push(Bit::ZERO);
    let r = b.garbler(k..2 * k);
    let out = b.difference_mod(&y, &r, p);
    b.finish(out)
}

/// max of `window` values + r mod p. Inputs: the garbler's shares, [`entered`] with [`bias`] added, and then its r with
/// the bias taken off; the evaluator's shares.
pub fn max(window: usize, p: u32) -> Circuit {
    let k = width(p);
    let mut b = Builder::new((window + 1) * k, window * k);
    let values = b.reconstruct_mod(window, p);
    let best = b.greatest(values, Builder::less_unsigned);
    let r = b.garbler(window * k..(window + 1) * k);
    let out = b.difference_mod(&best, &r, p);
    b.finish(out)
}

/// The index of the greatest of `classes` values, the lowest among equals. Inputs: the garbler's shares, [`entered`]
/// with [`bias`] added; the evaluator's shares.
pub fn argmax(classes: usize, p: u32) -> Circuit {
    let k = width(p);
    let mut b = Builder::new(classes * k, classes * k);
    let values = b.reconstruct_mod(classes, p);
    let index = b.first_greatest(&values, Builder::less_unsigned);
    b.finish(index)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::share::P;

    const SMALL: [u32; 8] = [3, 5, 7, 11, 13, 17, 19, 31];

    fn bits(x: u32, p: u32) -> Vec<bool> {
        (0..width(p)).map(|i| x >> i & 1 == 1).collect()
    }

    fn number(bits: &[bool]) -> u32 {
        bits.iter().enumerate().map(|(i, &b)| u32::from(b) << i).sum()
    }

    /// Input bits of garbler and evaluator for shared values.
    fn shared(values: &[u32], masks: &[u32], offset: u32, p: u32) -> (Vec<bool>, Vec<bool>) {
        let ring = Ring::Prime(p);
        let garbler = masks.iter().flat_map(|&m| bits(entered(m, offset, p), p)).collect();
        (garbler, values.iter().zip(masks).flat_map(|(&v, &m)| bits(ring.sub(v, m), p)).collect())
    }

    fn check_one(x: u32, mask: u32, r: u32, p: u32, sign: &Circuit, relu: &Circuit) {
        let ring = Ring::Prime(p);
        let (twice, twice_mask) = (ring.add(x, x), ring.add(mask, mask));
        let (garbler, evaluator) = shared(&[twice], &[twice_mask], 0, p);
        assert_eq!(sign.plain(&garbler, &evaluator), [ring.to_signed(x) >= 0], "{x} under {mask} mod {p}");
        let (garbler, evaluator) = shared(&[x], &[mask], 0, p);
        let found = number(&relu.plain(&[garbler, bits(entered(r, 0, p), p)].concat(), &evaluator));
        assert_eq!(found, ring.add(ring.from_signed(ring.to_signed(x).max(0)), r), "{x} under {mask} + {r} mod {p}");
    }

    fn check_many(values: &[u32], masks: &[u32], r: u32, p: u32, max: &Circuit, argmax: &Circuit) {
        let ring = Ring::Prime(p);
        let signed: Vec<i64> = values.iter().map(|&v| ring.to_signed(v)).collect();
        let best = (0..values.len()).rev().max_by_key(|&i| signed[i]).unwrap();
        let (garbler, evaluator) = shared(values, masks, bias(p), p);
        assert_eq!(number(&argmax.plain(&garbler, &evaluator)) as usize, best, "{signed:?} mod {p}");
        let r_bits = bits(entered(r, ring.neg(bias(p)), p), p);
        let found = number(&max.plain(&[garbler, r_bits].concat(), &evaluator));
        assert_eq!(found, ring.add(values[best], r), "{signed:?} mod {p}");
    }

    /// Every pair of operands, every sharing of every value and, for 3 and 5, every mask of the result.
    #[test]
    fn small_primes_exhaustively() {
        for p in SMALL {
            let ring = Ring::Prime(p);
            let k = width(p);
            let mut b = Builder::new(k, k);
            let (x, y) = (b.garbler(0..k), b.evaluator(0..k));
            let (sum, difference) = (b.sum_mod(&x, &y, p), b.difference_mod(&x, &y, p));
            let words = b.finish([sum, difference].concat());
            let (sign, relu) = (sign(k), relu(p));
            for (x, y) in (0..p).flat_map(|x| (0..p).map(move |y| (x, y))) {
                let out = words.plain(&bits(x, p), &bits(y, p));
                assert_eq!(number(&out[..k]), ring.add(x, y), "{x} + {y} mod {p}");
                assert_eq!(number(&out[k..]), ring.sub(x, y), "{x} - {y} mod {p}");
                (0..p).for_each(|r| check_one(x, y, r, p, &sign, &relu));
            }
        }
        for p in [3, 5] {
            let (max, argmax) = (max(3, p), argmax(3, p));
            let digits = |mut n: u32| [(); 3].map(|()| (n % p, n /= p).0);
            for (values, masks) in (0..p.pow(3)).flat_map(|v| (0..p.pow(3)).map(move |m| (v, m))) {
                check_many(&digits(values), &digits(masks), (values + masks) % p, p, &max, &argmax);
            }
        }
    }

    proptest! {
        #[test]
        fn wide_primes(draws in proptest::collection::vec(any::<u32>(), 17), count in 2usize..9, which in 0usize..4) {
            let p = [P, 65537, 4_294_967_291, 2_147_483_647][which];
            let edges = [0, 1, p / 2, p / 2 + 1, p - 1];
            let draws: Vec<u32> = draws.iter().map(|d| if d % 3 == 0 { edges[*d as usize / 3 % 5] } else { d % p }).collect();
            let (values, masks) = (&draws[..count], &draws[8..8 + count]);
            check_one(values[0], masks[0], draws[16], p, &sign(width(p)), &relu(p));
            check_many(values, masks, draws[16], p, &max(count, p), &argmax(count, p));
        }
    }

    fn words(p: u32, word: fn(&mut Builder, &[Bit], &[Bit], u32) -> Vec<Bit>) -> usize {
        let k = width(p);
        let mut b = Builder::new(k, k);
        let (x, y) = (b.garbler(0..k), b.evaluator(0..k));
        let out = word(&mut b, &x, &y, p);
        b.finish(out).ands()
    }

    #[test]
    fn and_counts_are_those_of_the_table() {
        for p in SMALL.into_iter().chain([P, 65537, 4_294_967_291, 2_147_483_647]) {
            let k = width(p);
            assert_eq!(words(p, Builder::difference_mod), 2 * k - 1);
            assert!(words(p, Builder::sum_mod) <= 3 * k - 3, "sum mod {p}");
            assert_eq!(sign(k).ands(), k);
            assert!(relu(p).ands() <= 6 * k - 4, "ReLU mod {p}");
            for count in 2..=5 {
                assert_eq!(max(count, p).ands(), (count + 1) * (2 * k - 1) + 2 * k * (count - 1));
                let index = [0, 1, 3, 5][count - 2];
                assert_eq!(argmax(count, p).ands(), count * (2 * k - 1) + k * (2 * count - 3) + index);
            }
        }
        assert_eq!([words(P, Builder::sum_mod), relu(P).ands()], [92, 188]);
    }
}
