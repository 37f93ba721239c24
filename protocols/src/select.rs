//! Selection: shares of d·x from a bit d shared by xor and a value x shared in a ring, mod 2^32 or a prime of at most
//! 32 bits.
//!
//! With d = d_P xor d_O, a party's share x_P counts as d·x_P = d_P·x_P + d_O·(1 - 2 d_P)·x_P: its first term is local,
//! the second a correlated OT in which P's correlation is (1 - 2 d_P)·x_P and the other party's choice d_O.
//!
//! | # | from -> to | content | bytes an element | phase |
//! |---|---|---|---|---|
//! | 1 | client -> server | choices | 4 | online |
//! | 2 | server -> client | corrections for x_S | 4 | online |
//! | 3 | server -> client | choices | 4 | online |
//! | 4 | client -> server | corrections for x_C | 4 | online |

use blindvox_engine::simd::wide;
use blindvox_net::channel::Party;

use crate::error::Result;
use crate::ot;
use crate::peer::{Link, Peer};
use crate::share::{BitShares, Ring, Shares};
use crate::traffic::Bytes;

/// This party's share in `ring` of d·x from its shares of the bits d and of x there.
///
/// # Panics
/// If there are not as many bits as values.
pub fn select(peer: &mut Peer, bits: &BitShares, x: &[u32], ring: Ring) -> Result<Shares> {
    assert_eq!(bits.len(), x.len(), "a bit for each value");
    let mask = |d: u8| u32::from(d).wrapping_neg();
    let mut correlations = Shares::from(x);
    let signed = correlations.iter_mut().zip(&**bits);
    wide(|| signed.for_each(|(c, &d)| *c = (*c & !mask(d)) | (ring.neg(*c) & mask(d))));
    let Link { party, channel, ot, .. } = &mut peer.link;
    // The server sends first.
    let (mut sum, received) = match party {
        Party::Server => {
            let sent = ot.send.cot(channel, &correlations, ring)?;
            (sent, ot.recv.cot(channel, bits, ring)?)
        }
        Party::Client => {
            let received = ot.recv.cot(channel, bits, ring)?;
            (ot.send.cot(channel, &correlations, ring)?, received)
        }
    };
    let terms = sum.iter_mut().zip(&*received).zip(x.iter().zip(&**bits));
    wide(|| terms.for_each(|((s, &r), (&x, &d))| *s = ring.add(ring.add(*s, r), x & mask(d))));
    Ok(sum)
}

/// Bytes for `n` values, at a block width of transfers.
pub fn bytes(n: usize, ring: Ring, width: usize) -> Bytes {
    ot::bytes(n, ring, width, Party::Client) + ot::bytes(n, ring, width, Party::Server)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ot::{LOCAL_WIDTH, cot_bytes};
    use crate::share::P;
    use crate::testing::{run_both, share};

    fn ideal(bits: &[u8], x: &[i64]) -> Vec<i64> {
        x.iter().zip(bits).map(|(&x, &d)| x * i64::from(d)).collect()
    }

    #[test]
    fn a_shared_bit_keeps_or_clears_a_shared_value() {
        for ring in [Ring::FULL, Ring::Prime(P), Ring::Prime(65537)] {
            let most = ((ring.modulus() - 1) / 2) as i64;
            let values: Vec<i64> = (0..400).map(|i| [0, 1, -1, most, -most][i % 5]).collect();
            let masks: Vec<u32> = (0..400u32).map(|i| ring.mask(i.wrapping_mul(0x9e37_79b9))).collect();
            let (client, server) = share(ring, &values, &masks);
            let bits: [Vec<u8>; 2] = [4, 8].map(|p| (0..400).map(|i| u8::from(i & p != 0)).collect());
            let (c, s, traffic) = run_both(|peer| {
                let (bits, x) = if peer.party == Party::Client { (&bits[0], &client) } else { (&bits[1], &server) };
                select(peer, &bits.clone().into(), x, ring).unwrap()
            });
            let d: Vec<u8> = bits[0].iter().zip(&bits[1]).map(|(a, b)| a ^ b).collect();
            assert_eq!(ring.open(&c, &s), ideal(&d, &values), "{ring}");
            assert_eq!(Bytes::from(traffic), bytes(400, ring, LOCAL_WIDTH));
        }
        // 512 transfers of 4 bytes are extended, 400 corrections sent, in each direction.
        assert_eq!(cot_bytes(400, Ring::FULL, LOCAL_WIDTH), (4096, 1600));
    }
}
