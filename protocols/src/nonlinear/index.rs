//! The index of the greatest by selection: a tournament in which indices are selected as values are, match by match.
//!
//! | # | from -> to | content | bytes a voxel of c classes | phase |
//! |---|---|---|---|---|
//! | 1 | | comparisons, ANDs of words, selections | the [comparison](crate::compare)'s | online |
//! | 2 | server -> client | its shares of the index | bits of an index / 8 | online |

use blindvox_net::channel::Party;
use zeroize::Zeroizing;

use super::tournament;
use crate::compare::Compare;
use crate::error::Result;
use crate::gc::arithmetic;
use crate::ot::pack::{pack, packed_len, unpack};
use crate::peer::Peer;
use crate::share::{Ring, Shares};

/// Shares of the index of the greatest: a tournament in which indices are selected as values are.
pub(crate) fn by_selection(
    peer: &mut Peer,
    compare: &mut dyn Compare,
    columns: &[&[u32]],
    ring: Ring,
) -> Result<Zeroizing<Vec<u8>>> {
    let bits = arithmetic::index_bits(columns.len()) as u32;
    let mine = if peer.party == Party::Client { 1 } else { 0 };
    let n = columns[0].len();
    let mut indices: Vec<_> = (0..columns.len()).map(|c| Zeroizing::new(vec![c as u8 * mine; n])).collect();
    let mut columns: Vec<Shares> = columns.iter().map(|&c| c.into()).collect();
    while columns.len() > 1 {
        let outcomes = tournament::play(peer, compare, &columns, ring)?;
        let (pairs, _) = indices.as_chunks::<2>();
        let changes = pairs.iter().flat_map(|[a, b]| a.iter().zip(b.iter()).map(|(a, b)| a ^ b));
        let changes = Zeroizing::new(changes.collect::<Vec<_>>());
        let gains = compare.and(peer, &outcomes.first_wins, &changes, bits)?;
        let mut next = Vec::with_capacity(indices.len().div_ceil(2));
        let mut gains = gains.chunks_exact(n);
        let mut left = indices.into_iter();
        while let Some(first) = left.next() {
            let Some(mut second) = left.next() else {
                next.push(first);
                break;
            };
            second.iter_mut().zip(gains.next().unwrap_or_default()).for_each(|(b, gain)| *b ^= gain);
            next.push(second);
        }
        indices = next;
        columns =
            if columns.len() == 2 { vec![Shares::default()] } else { outcomes.winners(peer, compare, columns)? };
    }
    Ok(indices.swap_remove(0))
}

/// The client learns words of so many bits that are shared by xor.
pub(crate) fn open(peer: &mut Peer, shares: &[u8], bits: usize) -> Result<Option<Vec<u32>>> {
    let (n, bits) = (shares.len(), bits as u32);
    if peer.party == Party::Server {
        let shares: Shares = shares.iter().map(|&s| u32::from(s)).collect();
        peer.channel.send(pack(&shares, bits))?;
        return Ok(None);
    }
    let message = peer.channel.recv_exact(packed_len(n, bits))?;
    let theirs = unpack(&message, n, bits);
    Ok(Some(theirs.iter().zip(shares).map(|(t, &s)| t ^ u32::from(s)).collect()))
}
