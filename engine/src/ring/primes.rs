//! NTT primes: q = 1 mod 2n, so that a primitive 2n-th root of unity exists.

use super::modulus::{MAX_BITS, Modulus};
use crate::error::{Error, Result};

/// 50-bit primes q = q1 * 2^32 + 1: they suit AVX-512 IFMA, reduction by 32-bit limbs is cheap, and
/// as q = 1 mod 2^32 the rounding encoding of messages mod 2^32 is exact.
pub const DEFAULT_50: [u64; 3] = [0x3_fff3_0000_0001, 0x3_ffed_0000_0001, 0x3_ffeb_0000_0001];

/// 60-bit primes of the same form.
pub const DEFAULT_60: [u64; 2] = [0xfff_ffa0_0000_0001, 0xfff_ff88_0000_0001];

/// Miller-Rabin with the bases that decide every 64-bit number.
pub fn is_prime(n: u64) -> bool {
    const BASES: [u64; 12] = [2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37];
    if n < 2 {
        return false;
    }
    for b in BASES {
        if n.is_multiple_of(b) {
            return n == b;
        }
    }
    let mul = |a: u64, b: u64| (u128::from(a) * u128::from(b) % u128::from(n)) as u64;
    let twos = (n - 1).trailing_zeros();
    BASES.into_iter().all(|b| {
        let (mut x, mut base, mut e) = (1, b, (n - 1) >> twos);
        while e != 0 {
            if e & 1 == 1 {
                x = mul(x, base);
            }
            base = mul(base, base);
            e >>= 1;
        }
        if x == 1 || x == n - 1 {
            return true;
        }
        (1..twos).any(|_| {
            x = mul(x, x);
            x == n - 1
        })
    })
}

/// The `count` largest primes of exactly `bits` bits that are 1 mod 2n, in falling order.
pub fn ntt_primes(bits: u32, n: usize, count: usize) -> Result<Vec<u64>> {
    if !(2..=MAX_BITS).contains(&bits) || !n.is_power_of_two() || n < 2 {
        return Err(Error::Parameters(format!(
            "NTT primes of {bits} bits for n = {n}: bits must be in 2..={MAX_BITS} and n a power of two"
        )));
    }
    let step = 2 * n as u64;
    let (low, high) = (1u64 << (bits - 1), (1u64 << bits) - 1);
    let mut candidate = (high - 1) / step * step + 1;
    let mut found = Vec::new();
    while found.len() < count && candidate >= low.max(3) {
        if is_prime(candidate) {
            found.push(candidate);
        }
        candidate = candidate.saturating_sub(step);
    }
    if found.len() < count {
        return Err(Error::Parameters(format!(
            "only {} primes of {bits} bits are 1 mod {step}, {count} were asked for",
            found.len()
        )));
    }
    Ok(found)
}

/// The smallest primitive `order`-th root of unity (a power of two at least 2), which makes tables
/// the same everywhere.
pub fn primitive_root(q: Modulus, order: u64) -> Result<u64> {
    let no_root = || Error::Parameters(format!("modulus {}: no primitive root of order {order}", q.value()));
    if !(q.value() - 1).is_multiple_of(order) || !is_prime(q.value()) {
        return Err(no_root());
    }
    let cofactor = (q.value() - 1) / order;
    let root =
        (2..10_000).map(|g| q.pow(g, cofactor)).find(|&r| q.pow(r, order / 2) == q.value() - 1).ok_or_else(no_root)?;
    let square = q.mul(root, root);
    let mut power = root;
    let mut smallest = root;
    for _ in 1..order / 2 {
        power = q.mul(power, square);
        smallest = smallest.min(power);
    }
    Ok(smallest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decides_small_numbers_and_strong_pseudoprimes() {
        let sieve = |n: u64| n >= 2 && (2..n).take_while(|d| d * d <= n).all(|d| !n.is_multiple_of(d));
        assert!((0..5000).all(|n| is_prime(n) == sieve(n)));
        for composite in [3_215_031_751, 3_825_123_056_546_413_051, 341_550_071_728_321] {
            assert!(!is_prime(composite));
        }
        assert!(is_prime(0xffff_ffff_ffff_ffc5));
    }

    #[test]
    fn the_defaults_are_what_they_say() {
        for (bits, q) in DEFAULT_50.map(|q| (50, q)).into_iter().chain(DEFAULT_60.map(|q| (60, q))) {
            assert!(is_prime(q) && q % (1 << 32) == 1 && Modulus::new(q).unwrap().bits() == bits);
        }
    }

    #[test]
    fn generates_and_says_when_there_are_too_few() {
        let primes = ntt_primes(60, 65536, 4).unwrap();
        assert!(primes.iter().all(|&q| is_prime(q) && q % 131_072 == 1 && q >> 59 == 1));
        assert!(ntt_primes(12, 1024, 5).is_err());
        assert!(ntt_primes(61, 1024, 1).is_err());
    }
}
