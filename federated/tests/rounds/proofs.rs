//! Answers under a dealer's key that come with proofs: one that is wrong is named, and others open the sum.

use std::sync::Arc;

use crate::common::{BASE, Parties, Script};
use blindvox_engine::Prng;
use blindvox_federated::message::{self, Answer, Kind, hash};
use blindvox_federated::plan::{Plan, SchemeKind};
use blindvox_federated::roster::MemberId;
use blindvox_federated::round::{Means, Round};
use blindvox_federated::scheme::paillier::dealer::insecure_for_tests;
use blindvox_federated::scheme::paillier::encrypt::aggregate;
use blindvox_federated::scheme::paillier::keys::PublicKey;
use blindvox_federated::signing::Signer;

const ELEMENTS: usize = 50;

/// Three members up to the Close of a round, under a key of 512 bits.
struct Closed {
    parties: Parties,
    key: Arc<PublicKey>,
    plain: Vec<Vec<f64>>,
}

fn script(scheme: SchemeKind, prove: bool) -> Script {
    let script = Script::random(scheme, 20, 3, &[ELEMENTS], &mut Prng::from_seed_for_tests([4; 32]));
    Script { plan: Plan { prove, ..script.plan.clone() }, ..script }
}

fn closed(prove: bool) -> Closed {
    let mut whole = Parties::new(3, 3, 2, Default::default());
    let plain = script(SchemeKind::Plain, false).run(&mut whole).unwrap().swap_remove(0);
    let dealt = insecure_for_tests(1, 2, 3, &mut Prng::from_seed_for_tests([3; 32])).unwrap();
    let key = Arc::new(PublicKey::from_bytes_insecure_for_tests(&dealt.0.to_bytes()).unwrap());
    let script = script(SchemeKind::Paillier(hash(&key.to_bytes())), prove);
    let mut parties = Parties::dealt(dealt, 3);
    let (round, attempt) = parties.aggregator.begin(false).unwrap();
    for member in &mut parties.members {
        parties.aggregator.ready(&member.ready(round, attempt).unwrap()).unwrap();
    }
    let plan = parties.aggregator.plan(&script.plan).unwrap();
    for (i, member) in parties.members.iter_mut().enumerate() {
        let sent = member.upload(&plan, &BASE, &script.updates[i], script.examples[i]).unwrap();
        parties.aggregator.upload(&sent.message).unwrap();
    }
    parties.aggregator.close().unwrap();
    Closed { parties, key, plain }
}

impl Closed {
    /// The Answer of a holder that multiplies its first ciphertext by 1 + n, or adds one to its proof's last byte but 40.
    fn lie(&mut self, holder: MemberId, about_proof: bool) -> Vec<u8> {
        let plan = self.parties.aggregator.plan(&script(SchemeKind::Rlwe, true).plan).unwrap();
        let means = Means { dealt: Some(self.key.clone()), ..Means::new(&blindvox_engine::Device::cpu()) };
        let round = Round::open(&self.parties.roster, &plan, (1, 1), &means).unwrap();
        let close = self.parties.aggregator.close_for(holder).unwrap();
        let honest = self.parties.members[usize::from(holder)].answer(&close).unwrap();
        let honest = message::open(&self.parties.roster, &honest).unwrap();
        let set = honest.body::<Answer>(&self.parties.roster, Kind::Answer, &honest.place).unwrap().set;
        let ciphertexts = round.lengths().ciphertexts;
        let (point, mut prng) = (usize::from(holder) + 1, Prng::from_seed_for_tests([9; 32]));
        // The share again: what the member computed itself left it sealed.
        let (_, shares) = insecure_for_tests(1, 2, 3, &mut Prng::from_seed_for_tests([3; 32])).unwrap();
        let means = Means { share: shares.into_iter().nth(point - 1).map(Arc::new), ..means };
        let own = Round::open(&self.parties.roster, &plan, (1, 1), &means).unwrap();
        let closed = &message::open(&self.parties.roster, &close).unwrap().attachments.to_vec();
        let mut part = own.scheme.answer(point, &[], closed, &mut prng).unwrap().to_vec();
        if about_proof {
            let at = part.len() - 40;
            part[at] ^= 1;
        } else {
            // 1 + n, then ones.
            let len = self.key.ciphertext_len();
            let mut factors = vec![0; ciphertexts];
            factors.chunks_mut(len).for_each(|c| c[0] = 1);
            let n = &self.key.to_bytes()[8..8 + len / 2];
            factors[..len / 2].copy_from_slice(n);
            let carry = factors[..len / 2].iter_mut().position(|b| {
                *b = b.wrapping_add(1);
                *b != 0
            });
            assert!(carry.is_some());
            let mut answers = part[..ciphertexts].to_vec();
            aggregate(&self.key, &mut answers, &factors).unwrap();
            part[..ciphertexts].copy_from_slice(&answers);
        }
        let (body, sealed) = round.seal_part(holder, set, &part, &mut prng).unwrap();
        let signer = Signer::from_seed(&[holder as u8 + 2; 32]);
        message::seal(&signer, (Kind::Answer, honest.place, holder), &body, &[&sealed]).unwrap()
    }

    fn honest(&mut self, holder: MemberId) {
        let close = self.parties.aggregator.close_for(holder).unwrap();
        let answer = self.parties.members[usize::from(holder)].answer(&close).unwrap();
        self.parties.aggregator.answer(&answer).unwrap();
    }

    /// What member 2 opens: whether it is right, and its warnings.
    fn open(&mut self) -> blindvox_federated::Result<(bool, Vec<String>)> {
        let mut averages = vec![vec![0.0; ELEMENTS]];
        let result = self.parties.aggregator.result()?;
        let opened = self.parties.members[2].open_result(&result, &mut averages)?;
        Ok((averages == self.plain, opened.warnings))
    }
}

#[test]
fn a_wrong_answer_is_named_by_its_proof_and_others_open_the_sum() {
    for about_proof in [false, true] {
        let mut round = closed(true);
        let lie = round.lie(0, about_proof);
        round.parties.aggregator.answer(&lie).unwrap();
        round.honest(1);
        let error = round.open().unwrap_err().to_string();
        assert!(error.contains("1 answers can be opened, expected 2") && error.contains("h0: Answer: "), "{error}");
        round.honest(2);
        let (right, warnings) = round.open().unwrap();
        assert!(right);
        assert_eq!(warnings, ["h0: Answer: the proof for the answers at point 1 does not hold"]);
    }
}

#[test]
fn honest_proofs_hold_and_without_them_such_a_lie_opens_to_another_sum() {
    let mut round = closed(true);
    (0..3).for_each(|holder| round.honest(holder));
    assert_eq!(round.open().unwrap(), (true, Vec::new()));
    let mut round = closed(false);
    let lie = round.lie(0, false);
    round.parties.aggregator.answer(&lie).unwrap();
    round.honest(1);
    assert!(!matches!(round.open(), Ok((true, _))));
}

/// Proofs are for a dealer's key alone.
#[test]
fn plans_of_other_schemes_have_no_proofs() {
    let (mut parties, script) = (Parties::new(3, 3, 2, Default::default()), script(SchemeKind::Rlwe, true));
    let (round, attempt) = parties.aggregator.begin(false).unwrap();
    for member in &mut parties.members {
        parties.aggregator.ready(&member.ready(round, attempt).unwrap()).unwrap();
    }
    let error = parties.aggregator.plan(&script.plan).unwrap_err().to_string();
    assert!(error.contains("proofs of answers"), "{error}");
}
