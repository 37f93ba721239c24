//! Argmax over classes, to the client alone: the labels of a segmentation.
//!
//! One garbled circuit reconstructs the logits of a voxel, keeps the greatest and its index ([`arithmetic::argmax`] has the
//! count of ANDs; the lowest index wins among equals), and only the client gets the colours that decode it.
//!
//! | # | from -> to | content | bytes a voxel, c classes of k bits | phase |
//! |---|---|---|---|---|
//! | 1 | client -> server | choices of the OTs of its shares' bits | 4ck | online |
//! | 2 | server -> client | garbled tables | 32 times the ANDs | online |
//! | 3 | server -> client | colours of the index | bits of an index / 8 | online |
//!
//! The server learns nothing, the client the labels.

use super::relu::check_bits;
use crate::channel::Channel;
use crate::error::{Error, Result};
use crate::gc::{Half, Planes, Program, arithmetic};

/// Voxels in flight at a time: bounds memory at any size.
const BATCH: usize = 1 << 19;

/// The index of the greatest of `classes` logits at each voxel, from \[classes\]\[voxels\] shares mod 2^32 of |x| < 2^(`bits` - 1).
/// The client gets the labels, the server `None`.
///
/// # Errors
/// [`Error::Model`] unless 1 <= `classes` <= 256, the logits are whole channels, and 2 <= `bits` <= 32; the channel's.
pub fn argmax(
    channel: &mut Channel,
    gc: &mut Half,
    logits: &[u32],
    classes: usize,
    bits: u32,
) -> Result<Option<Vec<u8>>> {
    check_bits("argmax", bits, 32)?;
    if !(1..=256).contains(&classes) || !logits.len().is_multiple_of(classes) {
        return Err(Error::Model(format!("argmax over {classes} classes of {} logits", logits.len())));
    }
    let voxels = logits.len() / classes;
    let index_bits = arithmetic::index_bits(classes);
    let program = Program::new(&arithmetic::argmax(classes, bits as usize));
    let mut labels = matches!(gc, Half::Evaluator(_)).then(|| Vec::with_capacity(voxels));
    for start in (0..voxels).step_by(BATCH) {
        let range = start..voxels.min(start + BATCH);
        let columns: Vec<_> = (0..classes).map(|c| &logits[c * voxels..][range.clone()]).collect();
        let shares = gc.run(channel, &program, &Planes::from_columns(&columns, bits as usize))?;
        let opened = gc.reveal_to_evaluator(channel, shares)?;
        if let (Some(labels), Some(index)) = (&mut labels, opened) {
            labels.extend(index.to_column(0, index_bits).into_iter().map(|i| i as u8));
        }
    }
    Ok(labels)
}

#[cfg(test)]
mod tests {
    use super::super::relu::tests::run_garbled;
    use super::*;
    use crate::channel::Party;
    use crate::share::Ring;
    use crate::testing::sharings;

    fn ideal(logits: &[i64], classes: usize) -> Vec<u8> {
        let voxels = logits.len() / classes;
        let first_greatest = |v: usize| (0..classes).rev().max_by_key(|c| logits[c * voxels + v]);
        (0..voxels).map(|v| first_greatest(v).unwrap() as u8).collect()
    }

    #[test]
    fn the_client_learns_the_first_greatest() {
        for (classes, bits) in [(1, 8), (2, 32), (3, 16), (3, 32), (5, 20), (8, 2)] {
            let bound = (1i64 << (bits - 1)) - 1;
            let (values, client, server) =
                sharings(Ring::FULL, &[0, 0, -1, bound, -bound], &[0, -1, bound], 985, bound);
            let keep = values.len() / classes * classes;
            let (c, s, traffic) = run_garbled(|party, channel, _, gc| {
                let x = if party == Party::Client { &client } else { &server };
                argmax(channel, gc, &x[..keep], classes, bits).unwrap()
            });
            assert_eq!(s, None);
            assert_eq!(c.unwrap(), ideal(&values[..keep], classes), "{classes} classes of {bits} bits");
            let (n, k) = (keep / classes, bits as usize);
            let (chunks, circuit) = (n.div_ceil(256), arithmetic::argmax(classes, k));
            let sent = if classes > 1 { 1024 * classes * k * chunks } else { 0 };
            assert_eq!(traffic.sent as usize, sent);
            let colours = 32 * arithmetic::index_bits(classes) * chunks;
            assert_eq!(traffic.received as usize, 32 * circuit.ands() * n + colours);
        }
    }

    #[test]
    fn shapes_that_do_not_fit_are_refused() {
        let (c, ..) = run_garbled(|_, channel, _, gc| {
            [(3, 8, 4), (0, 8, 4), (257, 8, 257), (2, 33, 4)]
                .map(|(classes, bits, n)| argmax(channel, gc, &vec![0; n], classes, bits).is_err())
        });
        assert_eq!(c, [true; 4]);
    }
}
