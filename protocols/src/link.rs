//! What joins a party to its peer, whatever else they compute with: the connection, transfers, randomness of its own.

use blindvox_engine::Prng;
use blindvox_net::channel::{Channel, Party};

use crate::error::Result;
use crate::ot::OtPair;

/// One party's end. Sources of correlated randomness need no more of a [`Peer`](crate::peer::Peer).
pub struct Link {
    /// Who this is.
    pub party: Party,
    /// To the other one.
    pub channel: Channel,
    /// Oblivious transfers in both directions.
    pub ot: OtPair,
    /// This party's own randomness.
    pub prng: Prng,
}

impl Link {
    /// Sets up transfers in both directions.
    ///
    /// # Errors
    /// The peer's and the channel's.
    pub fn setup(party: Party, mut channel: Channel, mut prng: Prng) -> Result<Self> {
        let ot = OtPair::setup(party, &mut channel, &mut prng)?;
        Ok(Self { party, channel, ot, prng })
    }
}
