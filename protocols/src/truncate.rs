//! Truncate-and-reduce: from shares mod 2^l of x to shares mod 2^(l-f) of x / 2^f, rounded.
//!
//! # | from -> to | content | bytes | phase
//! --|------------|---------|-------|------
//! – | –          | nothing: both halves are local | 0 | online
//!
//! Each party drops the low f bits of its share; the client rounds down, the server up. Write
//! x_C = 2^f·a + c and x_S = 2^f·b + s with 0 <= c, s < 2^f. The parties end with a and b + \[s > 0\],
//! whose sum differs from (x_C + x_S) / 2^f by \[s > 0\] - (c + s) / 2^f: always less than 1 in absolute
//! value, 0 when 2^f divides x, and 0 on average over uniform shares. Since 2^l is a multiple of
//! 2^(l-f), a wrap of x_C + x_S mod 2^l vanishes in the smaller ring: unlike truncation that stays
//! mod 2^l, this never fails, whatever the size of x.

use blindvox_net::channel::Party;

use crate::error::{Error, Result};
use crate::share::Ring;

/// Replaces shares mod 2^`bits` by shares mod 2^(`bits` - `f`) of the values over 2^`f`, in place.
///
/// # Errors
/// [`Error::Model`] unless `f` < `bits` <= 32.
pub fn truncate(party: Party, shares: &mut [u32], bits: u32, f: u32) -> Result<()> {
    if f >= bits || bits > 32 {
        return Err(Error::Model(format!("truncation of {bits}-bit values by {f} bits: expected f < bits <= 32")));
    }
    let keep = Ring::Pow2(bits - f).mask(u32::MAX);
    match party {
        Party::Client => shares.iter_mut().for_each(|x| *x = floor(*x, f) & keep),
        Party::Server => shares.iter_mut().for_each(|x| *x = ceil(*x, f) & keep),
    }
    Ok(())
}

/// The client's half: x / 2^f rounded down.
#[inline]
pub(crate) fn floor(x: u32, f: u32) -> u32 {
    x >> f
}

/// The server's half: x / 2^f rounded up, for f < 32.
#[inline]
pub(crate) fn ceil(x: u32, f: u32) -> u32 {
    let low = x & !(u32::MAX << f);
    (x >> f).wrapping_add(u32::from(low != 0))
}

/// The value mod 2^(`bits` - `f`), as a signed number, that the parties share after truncating these
/// shares: the rounding is a function of the shares, not of the value alone.
pub fn ideal(client: u32, server: u32, bits: u32, f: u32) -> i64 {
    let unit = 1u64 << f;
    let sum = u64::from(client) / unit + u64::from(server).div_ceil(unit);
    let ring = Ring::Pow2(bits - f);
    ring.to_signed(ring.mask(sum as u32))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Both halves on one pair of shares.
    fn run(client: u32, server: u32, bits: u32, f: u32) -> i64 {
        let (mut c, mut s) = ([client], [server]);
        truncate(Party::Client, &mut c, bits, f).unwrap();
        truncate(Party::Server, &mut s, bits, f).unwrap();
        let ring = Ring::Pow2(bits - f);
        assert!([c[0], s[0]].iter().all(|&v| ring.mask(v) == v), "shares outside {ring}");
        ring.open(&c, &s)[0]
    }

    /// The distance of `result` · 2^f from x, around the circle of 2^bits.
    fn distance(result: i64, x: i64, bits: u32, f: u32) -> i64 {
        let m = 1i64 << bits;
        let d = ((result << f) - x).rem_euclid(m);
        d.min(m - d)
    }

    fn check(client: u32, server: u32, bits: u32, f: u32) {
        let x = Ring::Pow2(bits).open(&[client], &[server])[0];
        let result = run(client, server, bits, f);
        assert_eq!(result, ideal(client, server, bits, f));
        let error = distance(result, x, bits, f);
        assert!(error < 1 << f, "x = {x}, bits = {bits}, f = {f}: {result} is off by {error} / 2^f");
        if x & ((1 << f) - 1) == 0 {
            assert_eq!(error, 0, "multiples are exact");
        }
    }

    proptest! {
        #[test]
        fn is_within_one_unit_of_any_value(client: u32, server: u32, bits in 1u32..=32, f in 0u32..32) {
            prop_assume!(f < bits);
            let ring = Ring::Pow2(bits);
            check(ring.mask(client), ring.mask(server), bits, f);
        }
    }

    #[test]
    fn is_within_one_unit_at_the_extremes() {
        for bits in [2, 8, 20, 31, 32] {
            for f in [0, 1, bits / 2, bits - 1] {
                let ring = Ring::Pow2(bits);
                let m = 1i64 << bits;
                let unit = 1i64 << f;
                for x in [0, 1, -1, unit, -unit, unit - 1, m / 2 - 1, -m / 2, m / 2 - unit] {
                    for share in [0, 1, -1, x, x + 1, x - 1, m / 2, m / 2 - 1, unit - 1, unit] {
                        check(ring.from_signed(share), ring.from_signed(x - share), bits, f);
                    }
                }
            }
        }
    }

    #[test]
    fn rounding_is_unbiased() {
        // All shares of each value: the mean is the value itself.
        let (bits, f) = (10, 4);
        let ring = Ring::Pow2(bits);
        for x in -100i64..100 {
            let sum: i64 = (0..1 << bits).map(|c| run(c, ring.sub(ring.from_signed(x), c), bits, f)).sum();
            assert_eq!(sum << f, x << bits, "x = {x}");
        }
    }

    #[test]
    fn refuses_impossible_widths() {
        for (bits, f) in [(8, 8), (8, 9), (33, 1), (0, 0)] {
            assert!(matches!(truncate(Party::Client, &mut [], bits, f), Err(Error::Model(_))));
        }
    }
}
