//! What a holder does: gives its part of one sum a round.

use crate::audit;
use crate::error::{Error, Result};
use crate::member::{Answered, Member};
use crate::message::{self, Close, Kind};
use crate::round::{Round, Set};

impl Member {
    /// The Answer to a Close. The first one of a round is recorded, with the key for shares erased by the same write, before
    /// it is returned; the same set gets the same bytes, another one is refused, in later attempts too.
    ///
    /// # Errors
    /// [`Error::Round`] for a second set and for too few updates, [`Error::Message`] naming what doesn't fit.
    pub fn answer(&mut self, close: &[u8]) -> Result<Vec<u8>> {
        let round = self.round()?;
        let message = message::open(&self.roster, close)?;
        let body: Close = message.body(&self.roster, Kind::Close, &round.planned.place)?;
        let set = round.set(&body.uploads)?;
        let here = self.place();
        if let Some(done) = self.state.answered.as_ref().filter(|a| a.round == here.0) {
            if done.attempt == here.1 && done.set == set.digest {
                return Ok(done.message.clone());
            }
            return Err(Error::Round(format!("a second set of updates in round {}: one is answered", here.0)));
        }
        let part = self.part(&round, &set, (&message, &body))?;
        let (answer, sealed) = round.seal_part(self.id, set.digest, &part, &mut self.prng)?;
        let answer = message::seal(&self.signer, (Kind::Answer, round.planned.place, self.id), &answer, &[&sealed])?;
        let (round, attempt) = here;
        self.state.answered = Some(Answered { round, attempt, set: set.digest, message: answer.clone() });
        self.state.share_key = None;
        self.save_noted("answer", &[("set", audit::digest(&set.digest))])?;
        Ok(answer)
    }

    fn part(
        &mut self,
        round: &Round,
        set: &Set,
        (message, body): (&message::Message<'_>, &Close),
    ) -> Result<zeroize::Zeroizing<Vec<u8>>> {
        let not_here = || Error::Round("this member holds nothing in this round".to_owned());
        let place = round.planned.holders.iter().position(|h| h.member == self.id).ok_or_else(not_here)?;
        let mut expected = Vec::new();
        if round.shares() > 0 {
            expected.extend(set.uploads.iter().map(|(_, _, upload)| (round.sealed_share(), upload.shares[place])));
        }
        expected.push((round.lengths().closed, body.closed));
        let mut attached = message.attached(&self.roster, &expected)?;
        let closed = attached.pop().unwrap_or_default();
        let mut shares = Vec::new();
        for ((client, ..), sealed) in set.uploads.iter().zip(attached) {
            let key = self.state.share_key.as_ref().ok_or_else(not_here)?;
            let share = key.open(sealed, &round.share_data(*client, self.id));
            let share = share.map_err(|e| e.of(&format!("{}'s share", self.roster.name(*client))))?;
            shares.push(share);
        }
        let shares: Vec<&[u8]> = shares.iter().map(|share| &share[..]).collect();
        round.scheme.answer(round.planned.holders[place].point, &shares, closed, &mut self.prng)
    }
}
