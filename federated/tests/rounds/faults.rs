//! What is wrong is found out, named and refused, and nothing is opened that should not be.

use crate::common::{BASE, Parties, Script};
use blindvox_engine::Prng;
use blindvox_federated::aggregator::Stage;
use blindvox_federated::message::{self, Close, Kind};
use blindvox_federated::plan::{Audience, SchemeKind};
use blindvox_federated::roster::AGGREGATOR;
use blindvox_federated::scheme::rlwe::{Rlwe, Terms};
use blindvox_federated::scheme::{Fields, Scheme};
use blindvox_federated::signing::Signer;

fn script(members: usize) -> Script {
    Script::random(SchemeKind::Rlwe, 20, members, &[50], &mut Prng::from_seed_for_tests([6; 32]))
}

/// Runs a round up to its uploads; the Plan.
fn uploaded(parties: &mut Parties, script: &Script, who: &[usize]) -> Vec<u8> {
    let (round, attempt) = parties.aggregator.place();
    for id in 0..parties.members.len() {
        let ready = parties.members[id].ready(round, attempt).unwrap();
        parties.aggregator.ready(&ready).unwrap();
    }
    let plan = parties.aggregator.plan(&script.plan).unwrap();
    parties.members.iter_mut().for_each(|member| drop(member.plan(&plan).unwrap()));
    for &id in who {
        let sent = parties.members[id].upload(&plan, &BASE, &script.updates[id], script.examples[id]).unwrap();
        parties.aggregator.upload(&sent.message).unwrap();
    }
    plan
}

fn answer(parties: &mut Parties, holder: u16) {
    let close = parties.aggregator.close_for(holder).unwrap();
    let answer = parties.members[usize::from(holder)].answer(&close).unwrap();
    parties.aggregator.answer(&answer).unwrap();
}

fn target() -> Vec<Vec<f64>> {
    vec![vec![0.0; 50]]
}

#[test]
fn a_second_set_is_refused_after_a_restart_and_in_a_later_attempt() {
    let (mut parties, script) = (Parties::new(5, 5, 3, Default::default()), script(5));
    parties.aggregator.begin(false).unwrap();
    uploaded(&mut parties, &script, &[0, 1, 2, 3]);
    parties.aggregator.close().unwrap();
    let close = parties.aggregator.close_for(0).unwrap();
    // The same Close without one of its updates, signed by an aggregator that deviates.
    let opened = message::open(&parties.roster, &close).unwrap();
    let mut body: Close = opened.body(&parties.roster, Kind::Close, &opened.place).unwrap();
    body.uploads.pop();
    let shares = opened.attachments.len() / 4;
    let signer = Signer::from_seed(&[1; 32]);
    let fewer = |body: &Close| {
        let part = &opened.attachments[..3 * shares];
        message::seal(&signer, (Kind::Close, opened.place, AGGREGATOR), body, &[part]).unwrap()
    };
    let other = fewer(&body);
    let first = parties.members[0].answer(&close).unwrap();
    for restart in [false, true] {
        if restart {
            parties.restart_member(0);
        }
        let error = parties.members[0].answer(&other).unwrap_err().to_string();
        assert!(error.contains("a second set of updates in round 1"), "{error}");
        assert_eq!(parties.members[0].answer(&close).unwrap(), first);
    }
    // Another holder would answer the smaller set: it has seen no other.
    assert!(parties.members[1].answer(&other).is_err(), "its shares are not those of holder 0");
    // After a Close there is no other attempt.
    assert!(parties.aggregator.begin(true).unwrap_err().to_string().contains("round 1 was closed"));
    // An aggregator that forgot finds no key for shares in a later attempt.
    let ready = parties.members[0].ready(1, 2).unwrap();
    let ready = message::open(&parties.roster, &ready).unwrap();
    let ready: message::Ready = ready.body(&parties.roster, Kind::Ready, &ready.place).unwrap();
    assert!(ready.shares.is_none());
    // The next round is another one.
    assert!(parties.members[0].ready(2, 1).is_ok());
    assert!(parties.members[0].ready(1, 3).unwrap_err().to_string().contains("is over"));
}

#[test]
fn an_attempt_that_nobody_closed_is_tried_again_with_fresh_keys() {
    let (mut parties, script) = (Parties::new(4, 4, 3, Default::default()), script(4));
    parties.aggregator.begin(false).unwrap();
    uploaded(&mut parties, &script, &[0, 1]);
    let error = parties.aggregator.close().unwrap_err().to_string();
    assert!(error.contains("2 updates, expected 3 at least; missing: h2, h3"), "{error}");
    let before = parties.aggregator.who_uploaded().count();
    assert_eq!((before, parties.aggregator.begin(true).unwrap()), (2, (1, 2)));
    uploaded(&mut parties, &script, &[0, 1, 2]);
    parties.aggregator.close().unwrap();
    (0..3).for_each(|holder| answer(&mut parties, holder));
    let result = parties.aggregator.result().unwrap();
    assert_eq!(parties.members[1].open_result(&result, &mut target()).unwrap().uploads, 3);
    // Who came too late is told so, and opens nothing.
    let error = parties.members[3].open_result(&result, &mut target()).unwrap_err().to_string();
    assert!(error.contains("sent no update"), "{error}");
}

#[test]
fn fewer_than_t_answers_open_nothing() {
    let (mut parties, script) = (Parties::new(5, 5, 3, Default::default()), script(5));
    parties.aggregator.begin(false).unwrap();
    uploaded(&mut parties, &script, &[0, 1, 2]);
    parties.aggregator.close().unwrap();
    for holder in [1, 4] {
        answer(&mut parties, holder);
        let error = parties.aggregator.result().unwrap_err().to_string();
        assert!(error.contains("expected 3 at least; missing:"), "{error}");
        assert_eq!(parties.aggregator.stage(), Stage::Answering);
    }
    answer(&mut parties, 2);
    assert!(parties.aggregator.result().is_ok());
}

#[test]
fn what_is_wrong_is_named() {
    let (mut parties, script) = (Parties::new(3, 3, 2, Default::default()), script(3));
    assert!(parties.aggregator.plan(&script.plan).unwrap_err().to_string().contains("missing: h0, h1, h2"));
    parties.aggregator.begin(false).unwrap();
    let plan = uploaded(&mut parties, &script, &[0, 1]);
    let update = &script.updates[2];
    let mut upload = |base, update: &Vec<Vec<f64>>, examples| {
        parties.members[2].upload(&plan, base, update, examples).unwrap_err().to_string()
    };
    assert!(upload(&[1; 32], update, 1).contains("the base model: found 0101"));
    assert!(upload(&BASE, update, script.plan.most_examples + 1).starts_with("examples: found"));
    assert!(upload(&BASE, update, 0).starts_with("examples: found 0"));
    for wrong in [f64::NAN, f64::INFINITY] {
        let mut update = update.clone();
        update[0][7] = wrong;
        assert!(upload(&BASE, &update, 1).starts_with("tensor \"t0\": element 7: found"));
    }
    let sent = parties.members[2].upload(&plan, &BASE, update, script.examples[2]).unwrap().message;
    // The last attachment is the ciphertexts: a byte of them, and one of a share.
    for back in [1, 60_000] {
        let mut changed = sent.clone();
        let at = changed.len() - back;
        changed[at] ^= 1;
        let error = parties.aggregator.upload(&changed).unwrap_err().to_string();
        assert!(error.starts_with("h2: Upload: attachment"), "{error}");
    }
    assert!(parties.aggregator.upload(&sent[..sent.len() - 1]).unwrap_err().to_string().contains("are attached"));
    // A second plan for one attempt.
    let mut other = script.plan.clone();
    let key = Signer::from_seed(&[1; 32]);
    other.most_examples += 1;
    other.ready = message_ready(&mut parties);
    let (other, _) = other.seal(&parties.roster, &key, 1, 1).unwrap();
    assert!(parties.members[2].plan(&other).unwrap_err().to_string().contains("a second plan"));
    // Too late.
    parties.aggregator.upload(&sent).unwrap();
    parties.aggregator.close().unwrap();
    parties.aggregator.upload(&sent).unwrap();
}

fn message_ready(parties: &mut Parties) -> Vec<Vec<u8>> {
    parties.members.iter_mut().map(|m| m.ready(1, 1).unwrap()).collect()
}

#[test]
fn models_that_differ_end_the_run() {
    let (mut parties, script) = (Parties::new(3, 3, 2, Default::default()), script(3));
    parties.aggregator.begin(false).unwrap();
    uploaded(&mut parties, &script, &[0, 1, 2]);
    parties.aggregator.close().unwrap();
    (0..3).for_each(|holder| answer(&mut parties, holder));
    let result = parties.aggregator.result().unwrap();
    let opened = parties.members[0].open_result(&result, &mut target()).unwrap();
    let receipts = [[1; 32], [2; 32]].map(|model| (model, opened.clone()));
    let first = parties.members[0].receipt(receipts[0].0, &receipts[0].1).unwrap();
    let second = parties.members[1].receipt(receipts[1].0, &receipts[1].1).unwrap();
    parties.aggregator.receipt(&first).unwrap();
    let error = parties.aggregator.receipt(&second).unwrap_err().to_string();
    assert!(error.contains("the new models of h0 and h1 differ"), "{error}");
    // The round's keys are gone.
    assert!(parties.members[0].open_result(&result, &mut target()).unwrap_err().to_string().contains("erased"));
}

#[test]
fn the_aggregator_opens_only_where_it_is_of_the_audience() {
    for audience in [Audience::Clients, Audience::Everyone] {
        let (mut parties, mut script) = (Parties::new(3, 3, 2, Default::default()), script(3));
        script.plan.audience = audience;
        parties.aggregator.begin(false).unwrap();
        uploaded(&mut parties, &script, &[0, 1, 2]);
        parties.aggregator.close().unwrap();
        (0..2).for_each(|holder| answer(&mut parties, holder));
        let result = parties.aggregator.result().unwrap();
        let (mut by_client, mut by_aggregator) = (target(), target());
        parties.members[0].open_result(&result, &mut by_client).unwrap();
        let opened = parties.aggregator.open_result(&result, &mut by_aggregator);
        assert_eq!(opened.is_ok(), audience == Audience::Everyone);
        assert_eq!(by_client == by_aggregator, audience == Audience::Everyone);
    }
}

fn rlwe(uploads: usize, threshold: usize, points: usize) -> Rlwe {
    let terms = Terms { uploads, width: 28, fields: 100, threshold, points, seed: [3; 16] };
    Rlwe::new(&blindvox_engine::Device::cpu(), terms).unwrap()
}

/// One wrong residue in one answer, 10,000 times, with the most uploads that each size of noise and of key has room for,
/// and one polynomial: another t opens the sum where there is one, and t with it open nothing.
#[test]
fn wrong_words_are_found_out() {
    let trials: usize = std::env::var("BLINDVOX_WRONG_WORDS").map_or(300, |n| n.parse().expect("a number"));
    for uploads in [3, 24, 97, 389] {
        let (scheme, mut prng) = (rlwe(uploads, 2, 3), Prng::from_seed_for_tests([uploads as u8; 32]));
        let fields = Fields { len: 100, fill: &|at, row| row.iter_mut().zip(at..).for_each(|(x, i)| *x = i as u32) };
        let (mut sum, mut shares) = (Vec::new(), vec![Vec::new(); 3]);
        for _ in 0..uploads {
            let made = scheme.upload(&fields, &mut prng).unwrap();
            scheme.accumulate(&mut sum, &made.ciphertexts).unwrap();
            shares.iter_mut().zip(made.shares).for_each(|(all, share)| all.push(share));
        }
        let mut answer = |point: usize| {
            let shares: Vec<&[u8]> = shares[point - 1].iter().map(|s| &s[..]).collect();
            scheme.answer(point, &shares, &[], &mut prng).unwrap().to_vec()
        };
        let answers = [answer(1), answer(2), answer(3)];
        let open = |parts: &[(usize, &[u8])]| {
            let mut opened = Vec::new();
            scheme.combine(&sum, uploads, parts, &mut |_, row| opened.extend_from_slice(row)).map(|()| opened)
        };
        for chosen in [[0, 1], [0, 2], [1, 2]] {
            let opened = open(&chosen.map(|i| (i + 1, &answers[i][..]))).unwrap();
            assert!(opened[..100].iter().enumerate().all(|(i, &x)| x as usize == i * uploads));
        }
        assert!(open(&[(1, &answers[0])]).is_err());
        for _ in 0..trials {
            let mut wrong = answers[1].clone();
            let at = (prng.next_u64() % 4096) as usize * 2;
            let word = u16::from_le_bytes([wrong[at], wrong[at + 1]]);
            let by = 1 + (prng.next_u64() % 65520) as u32;
            let word = ((u32::from(word) + by) % 65521) as u16;
            wrong[at..at + 2].copy_from_slice(&word.to_le_bytes());
            assert!(open(&[(1, &answers[0]), (2, &wrong)]).is_err(), "{uploads} uploads, byte {at}, by {by}");
            assert!(open(&[(1, &answers[0]), (2, &wrong), (3, &answers[2])]).is_ok());
        }
    }
}

/// No key and no noise serves two updates, nor two attempts of one.
#[test]
fn keys_and_noise_serve_once() {
    let (scheme, mut prng) = (rlwe(3, 2, 3), Prng::from_seed_for_tests([1; 32]));
    let fields = Fields { len: 100, fill: &|_, row| row.fill(0) };
    let [a, b] = [(); 2].map(|()| scheme.upload(&fields, &mut prng).unwrap());
    assert!(a.ciphertexts != b.ciphertexts && a.shares[0] != b.shares[0]);
    let mut parties = Parties::new(3, 3, 2, Default::default());
    let script = script(3);
    parties.aggregator.begin(false).unwrap();
    let ready = |parties: &mut Parties| message_ready(parties)[0].clone();
    let first = ready(&mut parties);
    assert_eq!(ready(&mut parties), first);
    uploaded(&mut parties, &script, &[0]);
    parties.aggregator.begin(true).unwrap();
    assert_ne!(parties.members[0].ready(1, 2).unwrap(), first);
}
