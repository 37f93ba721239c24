//! Conversion of shares between rings: one correlated OT an element.
//!
//! # | from -> to       | content                            | bytes an element | phase
//! --|------------------|------------------------------------|------------------|------
//! 1 | server -> client | choices of the correlated OTs      | 4                | online
//! 2 | client -> server | corrections of the correlated OTs  | bits / 8, below  | online
//!
//! Two shares of a value y >= 0 below half the modulus m wrap around (y_C + y_S = y + w·m) exactly
//! when at least one of them is m/2 or more: without a wrap both are at most y. So the wrap bit is
//! w = a OR b = a + (1 - a)·b for bits a, b that each party reads off its own share, and a correlated OT
//! with correlation (1 - a)·m and choice b gives shares of (1 - a)·b·m in any ring (SIRNN, Rathee et al.
//! 2021, section III; the OR form is Cheetah's, Huang et al. 2022, section 4.2).
//! Signed values are moved up by a quarter of the modulus first.
//!
//! The client is the sender, the server chooses: the choices depend on the server's mask alone, so
//! they leave together with the linear layer's reply and the corrections together with the client's
//! next message: a conversion costs no round of its own. It also puts the heavier half of the OT's
//! bytes on the way from the server, as homomorphic encryption puts more on the way to it.
//!
//! A multiple w·2^v·u of the wrap bit mod 2^32 needs w mod 2^(32-v) only, so corrections shrink:
//!
//! | conversion | bits of a correction | bytes an element, both ways |
//! |---|---|---|
//! | 2^k to 2^m, m <= k | – | 0: nothing is sent |
//! | 2^k to 2^m, m > k | m - k | 4 + (m - k) / 8 |
//! | 2^k to p | 32 | 8 |
//! | p to 2^32, shift f >= 1 | 12 + f | 5.5 + f / 8 |
//! | p to 2^32, shift 0 | 32 | 8 |

use blindvox_engine::simd::wide;
use blindvox_net::channel::Party;
use zeroize::Zeroizing;

use crate::error::{Error, Result};
use crate::ot;
use crate::peer::{Link, Peer};
use crate::share::{P, Ring, Shares};
use crate::traffic::Bytes;
use crate::truncate::{ceil, floor};

/// Elements in flight at a time: bounds the memory of the OT at any tensor size.
pub const CHUNK: usize = 1 << 20;

/// From shares mod 2^`k` of -2^(k-2) <= x < 2^(k-2) to shares of x in `target`.
///
/// Outside that range the result is off by 2^k in up to half of the cases. To 2^m with m <= k any x will
/// do, and nothing is sent.
///
/// # Errors
/// [`Error::Model`] unless 2 <= `k` <= 32 and a prime target is above 2^(k-1); the channel's.
pub fn convert(peer: &mut Peer, mut shares: Shares, k: u32, target: Ring) -> Result<Shares> {
    match target {
        _ if !(2..=32).contains(&k) => Err(unfit(k, target)),
        Ring::Prime(p) if u64::from(p) < 1 << (k - 1) => Err(unfit(k, target)),
        Ring::Pow2(m) if m <= k => {
            shares.iter_mut().for_each(|x| *x = target.mask(*x));
            Ok(shares)
        }
        _ => {
            for chunk in shares.chunks_mut(CHUNK) {
                widen(peer, chunk, k, target)?;
            }
            Ok(shares)
        }
    }
}

/// Bytes of [`convert`] of `n` shares, at a block width of transfers.
pub fn bytes(n: usize, k: u32, target: Ring, width: usize) -> Bytes {
    match target {
        Ring::Pow2(m) if m <= k => Bytes::default(),
        _ => ot::bytes(n, correction_ring(modulus(k, target), target).0, width, Party::Server),
    }
}

/// Bytes of [`convert_from_prime`] of `n` shares, at a block width of transfers.
pub fn from_prime_bytes(n: usize, shift: u32, width: usize) -> Bytes {
    ot::bytes(n, correction_ring(P >> shift, Ring::FULL).0, width, Party::Server)
}

/// 2^k in the target ring.
fn modulus(k: u32, target: Ring) -> u32 {
    ((1 << k) % target.modulus()) as u32
}

/// One chunk, to a ring above 2^(k-1) that is not a smaller power of two.
fn widen(peer: &mut Peer, shares: &mut [u32], k: u32, target: Ring) -> Result<()> {
    // One party moves the value up to be non-negative, and the same one moves it back.
    let offset = match peer.party {
        Party::Client => 1 << (k - 2),
        Party::Server => 0,
    };
    let source = Ring::Pow2(k);
    shares.iter_mut().for_each(|x| *x = source.mask(x.wrapping_add(offset)));
    let high = Zeroizing::new(shares.iter().map(|&y| (y >> (k - 1)) as u8).collect::<Vec<_>>());
    let wraps = wraps(peer, &high, modulus(k, target), target)?;
    // A literal ring in each arm, so that each loop is compiled for its own.
    match target {
        Ring::Pow2(bits) => shares.iter_mut().zip(wraps.iter()).for_each(|(y, &w)| {
            *y = Ring::Pow2(bits).mask(y.wrapping_sub(w).wrapping_sub(offset));
        }),
        Ring::Prime(p) => shares.iter_mut().zip(wraps.iter()).for_each(|(y, &w)| {
            // y < 2^k < 2p: one conditional subtraction reduces it.
            let reduced = Ring::Prime(p).add(*y, 0);
            *y = Ring::Prime(p).sub(Ring::Prime(p).sub(reduced, w), offset);
        }),
    }
    Ok(())
}

/// From shares mod [`P`] of 0 <= y < p/2 to shares mod 2^32 of y / 2^`shift`, the client rounding down and
/// the server up: within one unit, and exact for a shift of 0.
///
/// p / 2^shift is 2^-shift above an integer, which is what is subtracted on a wrap: hence "within one
/// unit" where [`crate::truncate`] is strictly below it.
///
/// # Errors
/// [`Error::Model`] for a shift above 20; the channel's.
pub fn convert_from_prime(peer: &mut Peer, mut shares: Shares, shift: u32) -> Result<Shares> {
    check_shift(shift)?;
    for chunk in shares.chunks_mut(CHUNK) {
        chunk_from_prime(peer, chunk, shift)?;
    }
    Ok(shares)
}

/// An error for a truncation that [`convert_from_prime`] cannot do.
pub(crate) fn check_shift(shift: u32) -> Result<()> {
    if shift > 20 {
        return Err(Error::Model(format!("a square truncated by {shift} bits: at most 20 are allowed")));
    }
    Ok(())
}

/// [`convert_from_prime`] of at most [`CHUNK`] shares.
pub(crate) fn chunk_from_prime(peer: &mut Peer, chunk: &mut [u32], shift: u32) -> Result<()> {
    let high = Zeroizing::new(chunk.iter().map(|&y| u8::from(y > P / 2)).collect::<Vec<_>>());
    let wraps = wraps(peer, &high, P >> shift, Ring::FULL)?;
    let shares = chunk.iter_mut().zip(wraps.iter());
    match peer.party {
        Party::Client => wide(|| shares.for_each(|(y, &w)| *y = floor(*y, shift).wrapping_sub(w))),
        Party::Server => wide(|| shares.for_each(|(y, &w)| *y = ceil(*y, shift).wrapping_sub(w))),
    }
    Ok(())
}

/// Shares of `multiple`·(a OR b) in `target`, for a bit of each party's.
fn wraps(peer: &mut Peer, high: &[u8], multiple: u32, target: Ring) -> Result<Shares> {
    let Link { party, channel, ot, .. } = &mut peer.link;
    let (ring, scale) = correction_ring(multiple, target);
    let unit = multiple >> scale;
    let mut product = match party {
        Party::Client => {
            let correlation: Shares = high.iter().map(|&a| unit & u32::from(a).wrapping_sub(1)).collect();
            ot.send.cot(channel, &correlation, ring)?
        }
        Party::Server => ot.recv.cot(channel, high, ring)?,
    };
    if *party == Party::Client {
        // a·unit + (1 - a)·unit·b
        product.iter_mut().zip(high).for_each(|(w, &a)| *w = ring.add(*w, unit & u32::from(a).wrapping_neg()));
    }
    product.iter_mut().for_each(|w| *w <<= scale);
    Ok(product)
}

/// The ring that corrections for `multiple`·w mod `target` need, and the power of two that leads back:
/// mod 2^m an even multiple needs fewer bits of w.
fn correction_ring(multiple: u32, target: Ring) -> (Ring, u32) {
    match target {
        Ring::Pow2(bits) => {
            let scale = multiple.trailing_zeros();
            (Ring::Pow2(bits - scale), scale)
        }
        Ring::Prime(_) => (target, 0),
    }
}

fn unfit(k: u32, target: Ring) -> Error {
    Error::Model(format!("no conversion from 2^{k} to {target}: expected 2 <= k <= 32 and a prime above 2^(k-1)"))
}

/// The value that two shares mod 2^`k` stand for.
pub fn ideal(client: u32, server: u32, k: u32) -> i64 {
    Ring::Pow2(k).open(&[client], &[server])[0]
}

/// The value mod 2^32 that [`convert_from_prime`] makes of two shares mod [`P`]: the rounding is a
/// function of the shares.
pub fn ideal_from_prime(client: u32, server: u32, shift: u32) -> i64 {
    let unit = 1u64 << shift;
    let wrap = u64::from(client) + u64::from(server) >= u64::from(P);
    let (down, up) = (u64::from(client) / unit, u64::from(server).div_ceil(unit));
    (down + up) as i64 - i64::from(wrap) * i64::from(P >> shift)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ot::{LINK_WIDTH, LOCAL_WIDTH};
    use crate::testing::{run_both, sharings};

    fn pick<T: Clone>(party: Party, client: &[T], server: &[T]) -> Vec<T> {
        match party {
            Party::Client => client.to_vec(),
            Party::Server => server.to_vec(),
        }
    }

    /// The client's rounds: it answers only.
    fn rounds(n: usize) -> u64 {
        (n.div_ceil(1 << 16) as u64).saturating_sub(1)
    }

    /// Converts values at the edges of the range, under shares at the edges of the ring, and random ones.
    fn check(k: u32, target: Ring, random: usize) {
        let (m, bound) = (1i64 << k, (1i64 << (k - 2)) - 1);
        let (values, client, server) = sharings(
            Ring::Pow2(k),
            &[0, bound, -bound, -bound - 1, bound / 2, 1.min(bound), -1],
            &[0, 1, -1, m / 2, m / 2 - 1, m / 2 + 1, m / 4, m / 4 - 1, -m / 4, bound, -bound, m / 3],
            random,
            bound,
        );
        let (c, s, traffic) =
            run_both(|peer| convert(peer, pick(peer.party, &client, &server).into(), k, target).unwrap());
        assert!(c.iter().chain(&s).all(|&v| u64::from(v) < target.modulus()), "shares outside {target}");
        let expected: Vec<i64> = client.iter().zip(&server).map(|(&c, &s)| ideal(c, s, k)).collect();
        assert!(expected == values, "the ideal keeps the value");
        let wrong = target.open(&c, &s).into_iter().zip(expected).find(|(result, x)| result != x);
        assert_eq!(wrong, None, "from 2^{k} to {target}");
        let n = values.len();
        assert_eq!((Bytes::from(traffic), traffic.rounds), (bytes(n, k, target, LOCAL_WIDTH), rounds(n)));
    }

    #[test]
    fn keeps_values_at_the_edges() {
        for k in [2, 3, 8, 16, 20, 26, 31] {
            for target in [Ring::FULL, Ring::Prime(P), Ring::Pow2(k + 1)] {
                check(k, target, 1000);
            }
        }
        check(32, Ring::Prime(P), 1000);
        check(17, Ring::Prime(65537), 1000);
    }

    #[test]
    fn reduces_to_smaller_rings_for_nothing() {
        for (k, m) in [(32, 32), (32, 16), (20, 20), (20, 3), (20, 1)] {
            let (values, client, server) = sharings(Ring::Pow2(k), &[0, 1, -1], &[0, -1], 500, (1 << (k - 1)) - 1);
            let (c, s, traffic) =
                run_both(|peer| convert(peer, pick(peer.party, &client, &server).into(), k, Ring::Pow2(m)).unwrap());
            let ring = Ring::Pow2(m);
            let expected: Vec<i64> = values.iter().map(|&x| ring.to_signed(ring.from_signed(x))).collect();
            assert_eq!(ring.open(&c, &s), expected);
            assert_eq!((traffic.sent, traffic.received), (0, 0));
        }
    }

    #[test]
    fn crosses_chunks() {
        check(20, Ring::Prime(P), CHUNK + 5);
    }

    #[test]
    fn returns_from_the_prime_with_every_shift() {
        let (p, top) = (i64::from(P), i64::from(P / 2));
        for shift in 0..=20 {
            let (values, client, server) = sharings(
                Ring::Prime(P),
                &[0, 1, 1 << shift, (1 << shift) - 1, (1 << 30) - 1, 1 << 30, top - 1, top],
                &[0, 1, p - 1, top, top + 1, top - 1, 1 << shift, -1 << shift, p / 3],
                500,
                0,
            );
            let (c, s, traffic) =
                run_both(|peer| convert_from_prime(peer, pick(peer.party, &client, &server).into(), shift).unwrap());
            let n = values.len();
            assert_eq!((Bytes::from(traffic), traffic.rounds), (from_prime_bytes(n, shift, LOCAL_WIDTH), rounds(n)));
            for (i, result) in Ring::FULL.open(&c, &s).into_iter().enumerate() {
                assert_eq!(result, ideal_from_prime(client[i], server[i], shift));
                let error = (result << shift) - values[i];
                assert!(error.abs() <= (1 << shift) && (shift > 0 || error == 0), "{} >> {shift}: {result}", values[i]);
            }
        }
    }

    #[test]
    fn bytes_are_what_the_table_says() {
        let n = 1 << 20;
        // But for the checks of transfers, 0.0085 bytes each.
        let each = |bytes: Bytes| (bytes.total() as f64 / f64::from(n) * 8.0).floor() / 8.0;
        let n = n as usize;
        assert_eq!(each(bytes(n, 20, Ring::Pow2(20), LINK_WIDTH)), 0.0);
        assert_eq!(each(bytes(n, 20, Ring::FULL, LINK_WIDTH)), 4.0 + 12.0 / 8.0);
        assert_eq!(each(bytes(n, 20, Ring::Prime(P), LINK_WIDTH)), 8.0);
        assert_eq!(each(from_prime_bytes(n, 0, LINK_WIDTH)), 8.0);
        assert_eq!(each(from_prime_bytes(n, 10, LINK_WIDTH)), 5.5 + 10.0 / 8.0);
    }

    #[test]
    fn refuses_what_cannot_fit() {
        run_both(|peer| {
            for (k, target) in [(1, Ring::FULL), (33, Ring::FULL), (18, Ring::Prime(65537))] {
                assert!(matches!(convert(peer, Shares::default(), k, target), Err(Error::Model(_))));
            }
            assert!(matches!(convert_from_prime(peer, Shares::default(), 21), Err(Error::Model(_))));
        });
    }
}
