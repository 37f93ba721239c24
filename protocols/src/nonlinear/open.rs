//! Opening of shared values that a uniform share has masked.

use blindvox_net::channel::Channel;

use crate::error::{Error, Result};
use crate::share::{P, Ring};

/// Adds the peer's shares mod [`P`] to `shares`: both parties end with the values. Four bytes an element each way; at
/// most what the channel queues.
///
/// # Errors
/// [`Error::Protocol`] where the peer sends something that is no residue; the channel's.
pub(super) fn open(channel: &mut Channel, shares: &mut [u32]) -> Result<()> {
    channel.send_pod(shares)?;
    let theirs = channel.recv_pod::<u32>(shares.len())?;
    if theirs.iter().fold(0, |max, &d| max.max(d)) >= P {
        return Err(Error::protocol(format!("an opened value is not below {P}")));
    }
    let ring = Ring::Prime(P);
    shares.iter_mut().zip(&theirs).for_each(|(d, &t)| *d = ring.add(*d, t));
    Ok(())
}
