//! A whole federation in one process: for averages of files, the demo, benches and tests.

use std::sync::Arc;

use blindvox_engine::{Device, Prng};

use crate::aggregator::Aggregator;
use crate::codec::{Target, Update};
use crate::error::Result;
use crate::member::Member;
use crate::message::Digest;
use crate::plan::{Audience, Averaged, Plan, Privacy, SchemeKind};
use crate::roster::{Person, Roster};
use crate::round::{Means, Opened};
use crate::scheme::paillier::keys::{KeyShare, PublicKey};
use crate::signing::Signer;
use crate::store::Memory;

/// All parties.
pub struct Federation {
    /// Who they are.
    pub roster: Arc<Roster>,
    /// Who adds.
    pub aggregator: Aggregator,
    /// Who trains.
    pub members: Vec<Member>,
}

/// What a client brings to a round.
pub struct Contribution<'a> {
    /// Its update.
    pub update: &'a dyn Update,
    /// The examples it was trained on.
    pub examples: u64,
}

/// What a round came to.
#[derive(Debug)]
pub struct Done {
    /// As the first member opened it.
    pub opened: Opened,
    /// What is to be said of single updates.
    pub warnings: Vec<String>,
    /// Bytes of the messages of each kind up to the Result, all together, in the order of the table of messages.
    pub bytes: [usize; 6],
}

/// A Plan but for who takes part: a scheme, its bits, and what is averaged.
pub fn plan(scheme: SchemeKind, bits: u32, base: Digest, tensors: Vec<Averaged>, most_examples: u64) -> Plan {
    let (audience, privacy) = (Audience::Clients, Privacy::None);
    let (prove, timeouts, ready, aggregator) = (false, [3600, 600], Vec::new(), None);
    Plan { base, scheme, bits, most_examples, tensors, audience, prove, privacy, timeouts, ready, aggregator }
}

impl Federation {
    /// Parties with fresh keys and a roster of their own; all members hold, up to 16.
    ///
    /// # Errors
    /// [`Error::Input`](crate::Error::Input) for names or a threshold that a roster refuses.
    pub fn new(names: &[&str], threshold: Option<usize>, device: &Device, prng: &mut Prng) -> Result<Self> {
        Self::with(names, threshold, &Means::new(device), &[], prng)
    }

    /// The same under a dealer's key, with the shares for points 1, 2, ..
    ///
    /// # Errors
    /// Those of [`Self::new`].
    pub fn dealt(
        names: &[&str],
        device: &Device,
        key: PublicKey,
        shares: Vec<KeyShare>,
        prng: &mut Prng,
    ) -> Result<Self> {
        let threshold = Some(key.threshold());
        let means = Means { dealt: Some(Arc::new(key)), ..Means::new(device) };
        let shares: Vec<_> = shares.into_iter().map(Arc::new).collect();
        Self::with(names, threshold, &means, &shares, prng)
    }

    fn with(
        names: &[&str],
        threshold: Option<usize>,
        means: &Means,
        shares: &[Arc<KeyShare>],
        prng: &mut Prng,
    ) -> Result<Self> {
        let aggregator = Signer::from_seed(&prng.seed());
        let signers: Vec<Signer> = names.iter().map(|_| Signer::from_seed(&prng.seed())).collect();
        let person =
            |name: &str, signer: &Signer| Person { name: name.to_owned(), key: signer.public(), holder: false };
        let members = names.iter().zip(&signers).map(|(name, signer)| person(name, signer)).collect();
        let roster = Arc::new(Roster::new(person("aggregator", &aggregator), members, threshold, 3)?);
        let store = Box::new(Memory::default());
        let aggregator = Aggregator::open(&roster, aggregator, store, means, prng.fork("aggregator"))?;
        let members = signers.into_iter().enumerate().map(|(i, signer)| {
            let means = Means { share: shares.get(i).cloned(), ..means.clone() };
            Member::open(&roster, signer, Box::new(Memory::default()), &means, prng.fork("member"))
        });
        let members = members.collect::<Result<Vec<_>>>()?;
        Ok(Self { roster, aggregator, members })
    }

    /// One round with all members: the averages of what each brings go to `target`, once.
    ///
    /// # Errors
    /// Those of the parties.
    pub fn round(&mut self, plan: &Plan, brought: &[Contribution<'_>], target: &mut dyn Target) -> Result<Done> {
        let (mut bytes, mut warnings) = ([0; 6], Vec::new());
        let (round, attempt) = self.aggregator.begin(false)?;
        for member in &mut self.members {
            let ready = member.ready(round, attempt)?;
            bytes[0] += ready.len();
            self.aggregator.ready(&ready)?;
        }
        let message = self.aggregator.plan(plan)?;
        bytes[1] = message.len() * self.members.len();
        for (member, brought) in self.members.iter_mut().zip(brought) {
            let sent = member.upload(&message, &plan.base, brought.update, brought.examples)?;
            let name = self.roster.name(member.id());
            warnings.extend(sent.warning.map(|what| format!("{name}: {what}")));
            bytes[2] += sent.message.len();
            self.aggregator.upload(&sent.message)?;
        }
        self.aggregator.close()?;
        for holder in self.aggregator.holders() {
            let close = self.aggregator.close_for(holder)?;
            let answer = self.members[usize::from(holder)].answer(&close)?;
            (bytes[3], bytes[4]) = (bytes[3] + close.len(), bytes[4] + answer.len());
            self.aggregator.answer(&answer)?;
        }
        let result = self.aggregator.result()?;
        bytes[5] = result.len() * self.members.len();
        let opened = self.members[0].open_result(&result, target)?;
        warnings.extend(opened.warnings.iter().cloned());
        Ok(Done { opened, warnings, bytes })
    }

    /// Ends the round: all say that they have the same new model. Bytes of what they send.
    ///
    /// # Errors
    /// Those of the parties.
    pub fn finish(&mut self, model: Digest, opened: &Opened) -> Result<usize> {
        let mut bytes = 0;
        for member in &mut self.members {
            let receipt = member.receipt(model, opened)?;
            bytes += receipt.len();
            self.aggregator.receipt(&receipt)?;
        }
        Ok(bytes)
    }
}
