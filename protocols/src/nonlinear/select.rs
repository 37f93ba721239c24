//! Selection: shares of d·x from a bit d shared by xor and a value x shared mod 2^32.
//!
//! With d = d_P xor d_O, a party's share x_P counts as d·x_P = d_P·x_P + d_O·(1 - 2 d_P)·x_P: its first term is local, the
//! second a correlated OT in which P's correlation is (1 - 2 d_P)·x_P and the other party's choice d_O.
//!
//! | # | from -> to | content | bytes an element | phase |
//! |---|---|---|---|---|
//! | 1 | client -> server | choices | 4 | online |
//! | 2 | server -> client | corrections for x_S | 4 | online |
//! | 3 | server -> client | choices | 4 | online |
//! | 4 | client -> server | corrections for x_C | 4 | online |

use zeroize::Zeroizing;

use crate::channel::{Channel, Party};
use crate::error::Result;
use crate::ot::OtPair;
use crate::share::Ring;

/// This party's share mod 2^32 of d·x from its bits (0 or 1 each) and its shares mod 2^32.
///
/// # Panics
/// If there are not as many bits as values.
pub fn select(party: Party, channel: &mut Channel, ot: &mut OtPair, bits: &[u8], x: &[u32]) -> Result<Vec<u32>> {
    assert_eq!(bits.len(), x.len(), "a bit for each value");
    let signed = |(&x, &d): (&u32, &u8)| x.wrapping_mul(1u32.wrapping_sub(2 * u32::from(d)));
    let correlations: Zeroizing<Vec<u32>> = Zeroizing::new(x.iter().zip(bits).map(signed).collect());
    // The server sends first.
    let (sent, received) = match party {
        Party::Server => {
            let sent = ot.send.cot(channel, &correlations, Ring::FULL)?;
            (sent, ot.recv.cot(channel, bits, Ring::FULL)?)
        }
        Party::Client => {
            let received = ot.recv.cot(channel, bits, Ring::FULL)?;
            (ot.send.cot(channel, &correlations, Ring::FULL)?, received)
        }
    };
    let mine = x.iter().zip(bits).map(|(&x, &d)| x.wrapping_mul(u32::from(d)));
    Ok(mine.zip(sent).zip(received).map(|((m, s), r)| m.wrapping_add(s).wrapping_add(r)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{run_both, share};

    fn ideal(bits: &[u8], x: &[i64]) -> Vec<i64> {
        x.iter().zip(bits).map(|(&x, &d)| x * i64::from(d)).collect()
    }

    #[test]
    fn a_shared_bit_keeps_or_clears_a_shared_value() {
        let values: Vec<i64> = (0..400).map(|i| [0, 1, -1, i64::from(i32::MAX), i64::from(i32::MIN)][i % 5]).collect();
        let masks: Vec<u32> = (0..400u32).map(|i| i.wrapping_mul(0x9e37_79b9)).collect();
        let (client, server) = share(Ring::FULL, &values, &masks);
        let bits: [Vec<u8>; 2] = [4, 8].map(|p| (0..400).map(|i| u8::from(i & p != 0)).collect());
        let (c, s, traffic) = run_both(|party, channel, ot| {
            let (bits, x) = if party == Party::Client { (&bits[0], &client) } else { (&bits[1], &server) };
            select(party, channel, ot, bits, x).unwrap()
        });
        let d: Vec<u8> = bits[0].iter().zip(&bits[1]).map(|(a, b)| a ^ b).collect();
        assert_eq!(Ring::FULL.open(&c, &s), ideal(&d, &values));
        // 512 transfers of 4 bytes are extended, 400 corrections sent, in each direction.
        assert_eq!((traffic.sent, traffic.received), (2048 + 1600, 2048 + 1600));
    }
}
