//! What a party computes with once it has met its peer: the connection, transfers, garbled circuits, correlations, randomness.
//!
//! Every two-party protocol takes one. Which parts it uses decides which messages it has; its file's table says so.

use blindvox_engine::Prng;
use blindvox_net::channel::{Channel, Party};

use crate::correlations::{BeaverTriples, Correlations, Nothing, SquarePairs};
use crate::error::{Error, Result};
use crate::gc::{Garbling, Half};
use crate::ot::OtPair;

/// One party's end.
pub struct Peer {
    /// Who this is.
    pub party: Party,
    /// To the other one.
    pub channel: Channel,
    /// Oblivious transfers in both directions.
    pub ot: OtPair,
    /// The garbler's or evaluator's half, where circuits are garbled; see [`Self::gates`].
    pub gc: Option<Half>,
    /// Where square pairs, triples and the like come from.
    pub source: Box<dyn Correlations>,
    /// This party's own randomness.
    pub prng: Prng,
    /// Whether all that was noted so far was as it should be.
    sound: bool,
}

impl Peer {
    /// Sets up transfers in both directions; [`Self::garbling`] and a source come on top where they are needed.
    ///
    /// # Errors
    /// The peer's and the channel's.
    pub fn setup(party: Party, mut channel: Channel, mut prng: Prng) -> Result<Self> {
        let ot = OtPair::setup(party, &mut channel, &mut prng)?;
        Ok(Self { party, channel, ot, gc: None, source: Box::new(Nothing), prng, sound: true })
    }

    /// Sets up garbled circuits, out of transfers that are there. The peer must hash alike, which is not checked here.
    ///
    /// # Errors
    /// The peer's and the channel's.
    pub fn garbling(mut self, how: Garbling) -> Result<Self> {
        let Self { party, channel, ot, prng, .. } = &mut self;
        self.gc = Some(Half::setup_from(ot, *party, channel, prng, how)?);
        Ok(self)
    }

    /// The half that garbles or evaluates, and the channel that it does so over.
    ///
    /// # Errors
    /// [`Error::Model`] where garbled circuits were not set up.
    pub fn gates(&mut self) -> Result<(&mut Half, &mut Channel)> {
        let half = self.gc.as_mut().ok_or_else(|| Error::Model("garbled circuits were not set up".to_owned()))?;
        Ok((half, &mut self.channel))
    }

    /// Notes whether something that was learnt is as it should be, for [`Self::verdict`]: it may not change what is sent.
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
        self.ask(|source, peer| source.square_pairs(peer, count))
    }

    /// `count` fresh Beaver triples of this party's source.
    ///
    /// # Errors
    /// The source's.
    pub fn triples(&mut self, count: usize) -> Result<BeaverTriples> {
        self.ask(|source, peer| source.triples(peer, count))
    }

    /// A source may use all of the peer but itself.
    fn ask<T>(&mut self, what: impl FnOnce(&mut dyn Correlations, &mut Self) -> T) -> T {
        let mut source = std::mem::replace(&mut self.source, Box::new(Nothing));
        let answer = what(&mut *source, self);
        self.source = source;
        answer
    }
}
