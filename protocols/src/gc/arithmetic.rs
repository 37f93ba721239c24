//! Circuits on words (the lowest bit first), with their AND counts, and the circuits of the non-linear layers.
//!
//! | circuit | ANDs |
//! |---|---|
//! | sum, difference mod 2^k | k - 1 |
//! | comparison of signed words | k |
//! | selection between two words | k |
//! | [`sign`]: is x_C + x_S non-negative | k - 1 |
//! | [`relu`]: reconstruct, select, re-share | 3k - 3 |
//! | [`max`] of w: reconstruct, compare, select, re-share | (w + 1)(k - 1) + 2k(w - 1) |
//! | [`winner`] of c by the outcomes of a tournament | 0, 1, 1, 3, 3, 4, 4, 7 for c = 2..9 |
//! | [`argmax`] of c: reconstruct, compare, select value and index | c(k - 1) + k(2c - 3) + index; index = 0, 1, 3, 5, 8 for c = 2..6 |

use super::circuit::{Bit, Builder, Circuit};

/// An order of words.
pub(super) type Less = fn(&mut Builder, &[Bit], &[Bit]) -> Bit;

impl Builder {
    /// x + y + carry mod 2^k.
    fn add_carry(&mut self, x: &[Bit], y: &[Bit], carry: Bit) -> Vec<Bit> {
        let mut carry = carry;
        let last = x.len() - 1;
        let mut sum = Vec::with_capacity(x.len());
        for (i, (&x, &y)) in x.iter().zip(y).enumerate() {
            let half = self.xor(x, y);
            sum.push(self.xor(half, carry));
            if i < last {
                carry = self.carry(x, y, carry);
            }
        }
        sum
    }

    /// The greatest of some words in the order of `less`.
    pub(super) fn greatest(&mut self, values: Vec<Vec<Bit>>, less: Less) -> Vec<Bit> {
        let mut values = values.into_iter();
        let first = values.next().expect("at least one value");
        values.fold(first, |best, value| {
            let smaller = less(self, &best, &value);
            self.select(smaller, &value, &best)
        })
    }

    /// The index of the first of the greatest words in the order of `less`, in [`index_bits`] bits.
    pub(super) fn first_greatest(&mut self, values: &[Vec<Bit>], less: Less) -> Vec<Bit> {
        let bits = index_bits(values.len());
        let mut best = values[0].clone();
        let mut index = vec![Bit::ZERO; bits];
        for (i, value) in values.iter().enumerate().skip(1) {
            let smaller = less(self, &best, value);
            if i + 1 < values.len() {
                best = self.select(smaller, value, &best);
            }
            let own: Vec<_> = (0..bits).map(|b| Bit::constant(i >> b & 1 == 1)).collect();
            index = self.select(smaller, &own, &index);
        }
        index
    }

    /// The majority of three bits, in one AND: carry ^ (x ^ carry)(y ^ carry).
    pub(super) fn carry(&mut self, x: Bit, y: Bit, carry: Bit) -> Bit {
        let (a, b) = (self.xor(x, carry), self.xor(y, carry));
        let both = self.and(a, b);
        self.xor(carry, both)
    }

    /// x + y mod 2^k.
    pub fn sum(&mut self, x: &[Bit], y: &[Bit]) -> Vec<Bit> {
        self.add_carry(x, y, Bit::ZERO)
    }

    /// x - y mod 2^k.
    pub fn difference(&mut self, x: &[Bit], y: &[Bit]) -> Vec<Bit> {
        let complement: Vec<_> = y.iter().map(|&y| !y).collect();
        self.add_carry(x, &complement, Bit::ONE)
    }

    /// x < y as signed words.
    pub fn less(&mut self, x: &[Bit], y: &[Bit]) -> Bit {
        // Negating both top bits makes signed order unsigned.
        let moved = |word: &[Bit]| {
            let mut word = word.to_vec();
            word.iter_mut().last().into_iter().for_each(|top| *top = !*top);
            word
        };
        self.less_unsigned(&moved(x), &moved(y))
    }

    /// x < y as unsigned words: the borrow of x - y.
    pub fn less_unsigned(&mut self, x: &[Bit], y: &[Bit]) -> Bit {
        x.iter().zip(y).fold(Bit::ZERO, |borrow, (&x, &y)| self.carry(!x, y, borrow))
    }

    /// `if condition { x } else { y }`.
    pub fn select(&mut self, condition: Bit, x: &[Bit], y: &[Bit]) -> Vec<Bit> {
        x.iter()
            .zip(y)
            .map(|(&x, &y)| {
                let change = self.xor(x, y);
                let chosen = self.and(condition, change);
                self.xor(y, chosen)
            })
            .collect()
    }

    /// The words behind `count` shared ones of k bits each, garbler's and evaluator's shares from input 0 on.
    fn reconstruct(&mut self, count: usize, k: usize) -> Vec<Vec<Bit>> {
        (0..count)
            .map(|i| {
                let (x, y) = (self.garbler(i * k..(i + 1) * k), self.evaluator(i * k..(i + 1) * k));
                self.sum(&x, &y)
            })
            .collect()
    }
}

/// Output 1 bit: 1 where x_C + x_S mod 2^k, read as signed, is not negative. Inputs: k bits each.
pub fn sign(k: usize) -> Circuit {
    let mut b = Builder::new(k, k);
    let x = b.reconstruct(1, k).remove(0);
    b.finish(vec![!x[k - 1]])
}

/// max(x, 0) + r mod 2^k. Inputs: the garbler's share and then its r, k bits each; the evaluator's share.
pub fn relu(k: usize) -> Circuit {
    let mut b = Builder::new(2 * k, k);
    let x = b.reconstruct(1, k).remove(0);
    let r = b.garbler(k..2 * k);
    let mut y: Vec<_> = x[..k - 1].iter().map(|&bit| b.and(!x[k - 1], bit)).collect();
    y.push(Bit::ZERO);
    let out = b.sum(&y, &r);
    b.finish(out)
}

/// max of `window` values + r mod 2^k. Inputs: the garbler's shares and then its r; the evaluator's shares.
pub fn max(window: usize, k: usize) -> Circuit {
    let mut b = Builder::new((window + 1) * k, window * k);
    let values = b.reconstruct(window, k);
    let best = b.greatest(values, Builder::less);
    let r = b.garbler(window * k..(window + 1) * k);
    let out = b.sum(&best, &r);
    b.finish(out)
}

/// Bits of an index below `classes`.
pub fn index_bits(classes: usize) -> usize {
    (usize::BITS - (classes - 1).leading_zeros()) as usize
}

/// The index of the greatest of `classes` values, the lowest among equals, in [`index_bits`] bits. Inputs: shares.
pub fn argmax(classes: usize, k: usize) -> Circuit {
    let mut b = Builder::new(classes * k, classes * k);
    let values = b.reconstruct(classes, k);
    let index = b.first_greatest(&values, Builder::less);
    b.finish(index)
}

/// Who of `players` wins the knock-out tournament of [`crate::nonlinear`], in [`index_bits`] bits. Inputs: both
/// parties' shares by xor of the outcomes (1: the first wins) of its `players` - 1 matches, round after round.
pub fn winner(players: usize) -> Circuit {
    let bits = index_bits(players);
    let mut b = Builder::new(players - 1, players - 1);
    let (g, e) = (b.garbler(0..players - 1), b.evaluator(0..players - 1));
    let outcomes: Vec<_> = g.into_iter().zip(e).map(|(g, e)| b.xor(g, e)).collect();
    let mut outcomes = outcomes.into_iter();
    let mut left: Vec<Vec<Bit>> =
        (0..players).map(|player| (0..bits).map(|i| Bit::constant(player >> i & 1 == 1)).collect()).collect();
    while left.len() > 1 {
        let (pairs, odd) = left.as_chunks::<2>();
        let matches = pairs.iter().zip(outcomes.by_ref());
        left = matches.map(|([x, y], first)| b.select(first, x, y)).chain(odd.iter().cloned()).collect();
    }
    b.finish(left.remove(0))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bits(x: u64, k: usize) -> Vec<bool> {
        (0..k).map(|i| x >> i & 1 == 1).collect()
    }

    fn number(bits: &[bool]) -> u64 {
        bits.iter().enumerate().map(|(i, &b)| u64::from(b) << i).sum()
    }

    fn signed(x: u64, k: usize) -> i64 {
        ((x << (64 - k)) as i64) >> (64 - k)
    }

    fn low(x: u64, k: usize) -> u64 {
        x & (u64::MAX >> (64 - k))
    }

    fn shares(values: &[u64], masks: &[u64], k: usize) -> (Vec<bool>, Vec<bool>) {
        let garbler = masks.iter().flat_map(|&m| bits(m, k)).collect();
        (garbler, values.iter().zip(masks).flat_map(|(v, m)| bits(v.wrapping_sub(*m), k)).collect())
    }

    /// Every value and mask of small widths.
    #[test]
    fn small_widths_exhaustively() {
        for k in 1..=4 {
            let (sign, relu) = (sign(k), relu(k));
            for x in 0..1 << k {
                for mask in 0..1 << k {
                    let (garbler, evaluator) = shares(&[x], &[mask], k);
                    assert_eq!(sign.plain(&garbler, &evaluator), [signed(x, k) >= 0]);
                    for r in 0..1 << k {
                        let garbler = [garbler.clone(), bits(r, k)].concat();
                        let expected = low(signed(x, k).max(0) as u64 + r, k);
                        assert_eq!(number(&relu.plain(&garbler, &evaluator)), expected);
                    }
                }
            }
        }
        for k in 1..=3 {
            for count in 1..=3 {
                let (max, argmax) = (max(count, k), argmax(count.max(2), k));
                for all in 0u64..1 << (count * k) {
                    let values: Vec<_> = (0..count).map(|i| low(all >> (i * k), k)).collect();
                    let masks: Vec<_> = (0..count as u64).map(|i| low(all.wrapping_mul(i + 3) >> 1, k)).collect();
                    let (mut garbler, evaluator) = shares(&values, &masks, k);
                    if count > 1 {
                        let found = number(&argmax.plain(&garbler, &evaluator)) as usize;
                        assert_eq!(found, first_greatest(&values, k), "{values:?}");
                    }
                    garbler.extend(bits(all, k));
                    let greatest = values.iter().map(|&v| signed(v, k)).max().unwrap();
                    assert_eq!(number(&max.plain(&garbler, &evaluator)), low((greatest as u64).wrapping_add(all), k));
                }
            }
        }
    }

    #[test]
    fn tournaments_have_the_winner_of_their_matches() {
        for players in 2..=9 {
            let circuit = winner(players);
            for outcomes in 0u64..1 << (players - 1) {
                let mut left: Vec<u64> = (0..players as u64).collect();
                let mut first_wins = bits(outcomes, players - 1).into_iter();
                while left.len() > 1 {
                    left = left
                        .chunks(2)
                        .map(|pair| match pair {
                            [x, y] => {
                                if first_wins.next().unwrap() {
                                    *x
                                } else {
                                    *y
                                }
                            }
                            _ => pair[0],
                        })
                        .collect();
                }
                let mask = outcomes.wrapping_mul(0x9e37_79b9) >> 7;
                let (garbler, evaluator) = (bits(mask, players - 1), bits(mask ^ outcomes, players - 1));
                assert_eq!(number(&circuit.plain(&garbler, &evaluator)), left[0]);
            }
        }
    }

    fn first_greatest(values: &[u64], k: usize) -> usize {
        (0..values.len()).rev().max_by_key(|&i| signed(values[i], k)).unwrap()
    }

    proptest! {
        #[test]
        fn wide_words(k in 1usize..=32, values in proptest::collection::vec(any::<u64>(), 2..9), mask: u64, r: u64) {
            let values: Vec<_> = values.iter().map(|&v| low(v, k)).collect();
            let masks: Vec<_> = (0..values.len() as u64).map(|i| low(mask.wrapping_mul(2 * i + 1), k)).collect();
            let (garbler, evaluator) = shares(&values, &masks, k);
            let found = number(&argmax(values.len(), k).plain(&garbler, &evaluator)) as usize;
            prop_assert_eq!(found, first_greatest(&values, k));
            let greatest = values.iter().map(|&v| signed(v, k)).max().unwrap() as u64;
            let with_r = [garbler, bits(r, k)].concat();
            let found = number(&max(values.len(), k).plain(&with_r, &evaluator));
            prop_assert_eq!(found, low(greatest.wrapping_add(r), k));
            let (x, mask) = (values[0], masks[0]);
            let (garbler, evaluator) = shares(&[x], &[mask], k);
            prop_assert_eq!(sign(k).plain(&garbler, &evaluator), [signed(x, k) >= 0]);
            let found = number(&relu(k).plain(&[garbler, bits(r, k)].concat(), &evaluator));
            prop_assert_eq!(found, low((signed(x, k).max(0) as u64).wrapping_add(r), k));
        }

        #[test]
        fn sums_and_differences(k in 1usize..=32, x: u64, y: u64) {
            let mut b = Builder::new(k, k);
            let (g, e) = (b.garbler(0..k), b.evaluator(0..k));
            let (sum, difference, less) = (b.sum(&g, &e), b.difference(&g, &e), b.less(&g, &e));
            let out = b.finish([sum, difference, vec![less]].concat()).plain(&bits(x, k), &bits(y, k));
            prop_assert_eq!(number(&out[..k]), low(x.wrapping_add(y), k));
            prop_assert_eq!(number(&out[k..2 * k]), low(x.wrapping_sub(y), k));
            prop_assert_eq!(out[2 * k], signed(low(x, k), k) < signed(low(y, k), k));
        }
    }

    #[test]
    fn and_counts_are_those_of_the_table() {
        assert_eq!([2, 3, 4, 5, 6, 7, 8, 9].map(|c| winner(c).ands()), [0, 1, 1, 3, 3, 4, 4, 7]);
        for k in 2..=32 {
            assert_eq!(sign(k).ands(), k - 1);
            assert_eq!(relu(k).ands(), 3 * k - 3);
            for window in [2, 4, 8] {
                assert_eq!(max(window, k).ands(), (window + 1) * (k - 1) + 2 * k * (window - 1));
            }
            for classes in 2..=9 {
                let index: usize =
                    (2..classes).map(|c: usize| c.ilog2() as usize + usize::from(!c.is_power_of_two())).sum();
                assert_eq!(argmax(classes, k).ands(), classes * (k - 1) + k * (2 * classes - 3) + index);
            }
        }
    }
}
