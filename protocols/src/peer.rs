//! What a party computes with once it has met its peer: the connection, transfers, garbled circuits, correlations,
//! randomness.
//!
//! Every two-party protocol takes one. Which parts it uses decides which messages it has; its file's table says so.

use std::ops::{Deref, DerefMut};

use blindvox_engine::Prng;
use blindvox_net::channel::{Channel, Party};

use crate::correlations::{BeaverTriples, Correlations, Nothing, SquarePairs};
use crate::error::{Error, Result};
use crate::gc::{Garbling, Half};
pub use crate::link::Link;

/// One party's end: its [`Link`], whose parts are this one's too, and what computes over it.
pub struct Peer {
    /// The connection, transfers, this party's randomness.
    pub link: Link,
    /// The garbler's or evaluator's half, where circuits are garbled; see [`Self::gates`].
    pub gc: Option<Half>,
    /// Where square pairs, triples and the like come from.
    pub source: Box<dyn Correlations>,
    /// Whether all that was noted so far was as it should be.
    sound: bool,
}

impl Peer {
    /// Sets up transfers in both directions; [`Self::garbling`] and a source come on top where they are needed.
    ///
    /// # Errors
    /// The peer's and the channel's.
    pub fn setup(party: Party, channel: Channel, prng: Prng) -> Result<Self> {
        Ok(Self { link: Link::setup(party, channel, prng)?, gc: None, source: Box::new(Nothing), sound: true })
    }

    /// Sets up garbled circuits, out of transfers that are there. The peer must hash alike, which is not checked here.
    ///
    /// # Errors
    /// The peer's and the channel's.
    pub fn garbling(mut self, how: Garbling) -> Result<Self> {
        let Link { party, channel, ot, prng } = &mut self.link;
        self.gc = Some(Half::setup_from(ot, *party, channel, prng, how)?);
        Ok(self)
    }

    /// The half that garbles or evaluates, and the channel that it does so over.
    ///
    /// # Errors
    /// [`Error::Model`] where garbled circuits were not set up.
    pub fn gates(&mut self) -> Result<(&mut Half, &mut Channel)> {
        let half = self.gc.as_mut().ok_or_else(|| Error::Model("garbled circuits were not set up".to_owned()))?;
        Ok((half, &mut self.link.channel))
    }

    /// Notes whether something that was learnt is as it should be, for [`Self::verdict`]: it may not change what is
    /// sent.
    pub(crate) fn note(&mut self, sound: bool) {
        match &mut self.gc {
            Some(gc) => gc.note(sound),
            None => self.sound &= sound,
        }
    }

    /// The verdict on all that was learnt, for when there is nothing more to send.
    ///
    /// # Errors
    /// [`Error::Protocol`] if any of it was not as it should be.
    pub fn verdict(&self) -> Result<()> {
        if !self.sound {
            return Err(Error::protocol(
                "an opened label is none of the classes: the peer or somebody between has tampered with it",
            ));
        }
        self.gc.as_ref().map_or(Ok(()), Half::verdict)
    }

    /// `count` fresh square pairs of this party's source.
    ///
    /// # Errors
    /// The source's.
    pub fn square_pairs(&mut self, count: usize) -> Result<SquarePairs> {
        self.source.square_pairs(&mut self.link, count)
    }

    /// `count` fresh Beaver triples of this party's source.
    ///
    /// # Errors
    /// The source's.
    pub fn triples(&mut self, count: usize) -> Result<BeaverTriples> {
        self.source.triples(&mut self.link, count)
    }
}

impl Deref for Peer {
    type Target = Link;

    fn deref(&self) -> &Link {
        &self.link
    }
}

impl DerefMut for Peer {
    fn deref_mut(&mut self) -> &mut Link {
        &mut self.link
    }
}
