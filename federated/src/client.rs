//! What a client does: sends an update once, opens the sum, says what came out.

use zeroize::Zeroizing;

use crate::audit;
use crate::codec::{Encoder, Target, Update};
use crate::error::{Error, Result};
use crate::member::{Finished, Member, UPLOAD};
use crate::message::{self, Digest, Kind, Receipt, Upload, hash};
use crate::round::{Opened, Round};
use crate::scheme::Fields;
use crate::sealing;

/// An Upload, and what is to be said of it.
#[derive(Clone, Debug)]
pub struct Sent {
    /// The message.
    pub message: Vec<u8>,
    /// Entries that were clipped, where they are many.
    pub warning: Option<String>,
}

impl Member {
    /// The Upload of an update of the model with digest `base`. It is on the disk before it is returned, and the same bytes
    /// come whenever it is asked for again: a key and its noise serve one update.
    ///
    /// # Errors
    /// [`Error::Input`] for an update that doesn't fit the Plan; those of [`Member::plan`].
    pub fn upload<U: Update + ?Sized>(
        &mut self,
        plan: &[u8],
        base: &Digest,
        update: &U,
        examples: u64,
    ) -> Result<Sent> {
        let round = self.plan(plan)?;
        if let Some(message) = self.uploaded(&round)? {
            self.note_upload(&message, &[])?;
            return Ok(Sent { message, warning: None });
        }
        if round.planned.plan.base != *base {
            let [found, expected] = [*base, round.planned.plan.base].map(|d| message::shown(&d));
            return Err(Error::Input(format!("the base model: found {found}, expected {expected}")));
        }
        let encoder = Encoder::new(&round.planned.plan, update, examples)?;
        let fields = Fields { len: round.planned.plan.fields(), fill: &|at, row| encoder.fill(at, row) };
        let message = self.seal(&round, &fields)?;
        self.store.put(UPLOAD, &message)?;
        let clips = [("clipped", encoder.clipped.into()), ("entries", encoder.entries.into())];
        self.note_upload(&message, &clips)?;
        Ok(Sent { message, warning: encoder.warning() })
    }

    /// Writes an Upload into the log, once.
    fn note_upload(&mut self, message: &[u8], clips: &[(&str, serde_json::Value)]) -> Result<()> {
        let digest = message::open(&self.roster, message)?.digest;
        if self.state.logged == digest {
            return Ok(());
        }
        self.state.logged = digest;
        self.save_noted("upload", &[&[("upload", audit::digest(&digest))], clips].concat())
    }

    fn seal(&mut self, round: &Round, fields: &Fields<'_>) -> Result<Vec<u8>> {
        let made = round.scheme.upload(fields, &mut self.prng)?;
        let mut sealed = Vec::new();
        if !made.shares.is_empty() {
            for holder in &round.planned.holders {
                let data = round.share_data(self.id, holder.member);
                let share: &Zeroizing<Vec<u8>> = &made.shares[holder.point - 1];
                let share = sealing::seal(&holder.key, share, &data, &mut self.prng);
                sealed.push(share.map_err(|e| e.of(round.roster.name(holder.member)))?);
            }
        }
        let body =
            Upload { ciphertexts: hash(&made.ciphertexts), shares: sealed.iter().map(|share| hash(share)).collect() };
        let mut attachments: Vec<&[u8]> = sealed.iter().map(Vec::as_slice).collect();
        attachments.push(&made.ciphertexts);
        message::seal(&self.signer, (Kind::Upload, round.planned.place, self.id), &body, &attachments)
    }

    /// The Upload of the round that it has the Plan of, if it was made.
    ///
    /// # Errors
    /// [`Error::Round`] before there is a Plan; those of the store.
    pub fn kept_upload(&self) -> Result<Option<Vec<u8>>> {
        let round = self.round()?;
        self.uploaded(&round)
    }

    /// The Upload for this Plan, if it was made.
    fn uploaded(&self, round: &Round) -> Result<Option<Vec<u8>>> {
        let Some(bytes) = self.store.get(UPLOAD)? else { return Ok(None) };
        let place = message::open(&self.roster, &bytes)?.place;
        if place != round.planned.place {
            return Err(Error::message("an upload of another plan is kept for this attempt"));
        }
        Ok(Some(bytes))
    }

    /// Opens a Result that this member's update is in; averages go to `target`, which is worth nothing after an error.
    ///
    /// # Errors
    /// [`Error::Message`] naming what doesn't fit; [`Error::Round`] where the update came too late, or too few are in it.
    pub fn open_result(&self, result: &[u8], target: &mut dyn Target) -> Result<Opened> {
        let round = self.round()?;
        let none = || Error::Round("this member has sent no update in this round".to_owned());
        let upload = self.uploaded(&round)?.ok_or_else(none)?;
        let own = message::open(&self.roster, &upload)?.digest;
        let key = self.state.answer_key.as_ref();
        let key = key.ok_or_else(|| Error::Round("the keys of this round are erased".to_owned()))?;
        round.open_result(result, (self.id, key), Some(own), target)
    }

    /// Ends the round, once the new model is where it should be: the Receipt, and the round's keys are erased. The same
    /// bytes come whenever it is asked for again.
    ///
    /// # Errors
    /// Those of the store.
    pub fn receipt(&mut self, model: Digest, opened: &Opened) -> Result<Vec<u8>> {
        let round = self.state.round;
        if let Some(finished) = self.state.finished.as_ref().filter(|f| f.round == round) {
            return Ok(finished.receipt.clone());
        }
        let place = self.round()?.planned.place;
        let body = Receipt { model, clips: opened.clips.clone() };
        let receipt = message::seal(&self.signer, (Kind::Receipt, place, self.id), &body, &[])?;
        self.state.finished = Some(Finished { round, receipt: receipt.clone() });
        self.state.answer_key = None;
        let fields = [("set", opened.set), ("model", model)];
        self.save_noted("receipt", &fields.map(|(name, digest)| (name, audit::digest(&digest))))?;
        Ok(receipt)
    }

    /// The Receipt of the round that it is in, if it has ended.
    pub fn finished(&self) -> Option<&[u8]> {
        let finished = self.state.finished.as_ref().filter(|f| f.round == self.state.round);
        finished.map(|f| &f.receipt[..])
    }
}
