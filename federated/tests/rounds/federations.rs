//! Whole federations: what is opened equals the sums without encryption to the bit, by any t answers and by no fewer,
//! whoever drops out, dies and comes back.

use crate::common::{Death, Parties, Script};
use blindvox_engine::Prng;
use blindvox_federated::audit;
use blindvox_federated::message::hash;
use blindvox_federated::plan::{Plan, SchemeKind};
use blindvox_federated::scheme::paillier::dealer::{ceremony, insecure_for_tests};
use blindvox_federated::scheme::paillier::keys::{KeyShare, PublicKey};

fn same(a: &[Vec<f64>], b: &[Vec<f64>]) -> bool {
    a.iter().flatten().map(|x| x.to_bits()).eq(b.iter().flatten().map(|x| x.to_bits()))
}

/// A federation by its number: members, holders, threshold, drop-outs, clips, weights and tensors are drawn.
fn one(number: u64, paillier: Option<usize>) {
    let mut seed = [7; 32];
    seed[..8].copy_from_slice(&number.to_le_bytes());
    let mut prng = Prng::from_seed_for_tests(seed);
    let mut below = |n: usize| (prng.next_u64() % n as u64) as usize;
    let members = 3 + below(30);
    let holders = 1 + below(members.min(16));
    let threshold = holders / 2 + 1 + below(holders - holders / 2);
    let fields = 3 + below(2) as u32;
    let bits = Plan::widest(members, fields) - below(4) as u32;
    let most = if paillier.is_some() { 150 } else { 5000 };
    let elements: Vec<usize> = (0..1 + below(4)).map(|_| below(most)).chain([1]).collect();
    let late = below(members - 2);
    let silent = below(holders - threshold + 1);
    let (mut order, mut who): (Vec<usize>, Vec<u16>) = ((0..members).collect(), (0..holders as u16).collect());
    (0..late).for_each(|i| order.swap(i, i + below(members - i)));
    (0..silent).for_each(|i| who.swap(i, i + below(holders - i)));
    let mut script = Script::random(SchemeKind::Rlwe, bits, members, &elements, &mut prng);
    script.late = order[..late].to_vec();
    script.silent = who[..silent].to_vec();
    let run = |script: &mut Script, key: Option<(PublicKey, Vec<KeyShare>)>| {
        let mut parties = match key {
            Some(dealt) => {
                script.plan.scheme = SchemeKind::Paillier(hash(&dealt.0.to_bytes()));
                Parties::dealt(dealt, members)
            }
            None => Parties::new(members, holders, threshold, Default::default()),
        };
        script.run(&mut parties).unwrap_or_else(|e| panic!("federation {number}: {e}"))
    };
    let key = paillier.map(|bits| match bits {
        512 => insecure_for_tests(number as usize % 4, threshold, holders, &mut prng).unwrap(),
        _ => ceremony(bits, threshold, holders, &mut prng).unwrap(),
    });
    let encrypted = run(&mut script, key);
    script.plan.scheme = SchemeKind::Plain;
    let plain = run(&mut script, None);
    assert_eq!(encrypted.len(), members - late);
    assert!(encrypted.iter().chain(&plain).all(|m| same(m, &plain[0])), "federation {number}");
    // Averages are those of real numbers within what the integers can tell.
    let weights = |id: usize| script.examples[id] as f64 / script.plan.most_examples as f64;
    let there: Vec<usize> = (0..members).filter(|id| !script.late.contains(id)).collect();
    let all: f64 = there.iter().map(|&id| weights(id)).sum();
    for (t, tensor) in script.plan.tensors.iter().enumerate() {
        let c = tensor.clip;
        let bound = 2.0 * there.len() as f64 * c * f64::exp2(-f64::from(bits)) / all * (1.0 + 1e-9);
        // Weights that round to little move the average of few examples further than its numbers do.
        let weighed: f64 = there.iter().map(|&id| (weights(id) * f64::from(1 << (bits - 1))).round()).sum();
        assert!(weighed > 0.0);
        assert_eq!(plain[0][t].len(), tensor.elements as usize);
        for (i, average) in plain[0][t].iter().enumerate() {
            let sum: f64 = there.iter().map(|&id| weights(id) * script.updates[id][t][i].clamp(-c, c)).sum();
            let off = (average - sum / all).abs();
            assert!(off <= bound * 1.5, "federation {number}: {off} of {bound}");
        }
    }
}

#[test]
fn a_hundred_random_federations_equal_plain_to_the_bit() {
    let count = std::env::var("BLINDVOX_FEDERATIONS").map_or(100, |n| n.parse().expect("a number"));
    (0..count).for_each(|number| one(number, None));
}

#[test]
fn a_hundred_random_federations_under_a_dealers_key_equal_plain_to_the_bit() {
    let count = std::env::var("BLINDVOX_FEDERATIONS").map_or(100, |n| n.parse().expect("a number"));
    (0..count).for_each(|number| one(number, Some(512)));
}

/// With keys as long as a ceremony makes them: one in every run, as making a key takes seconds.
#[test]
fn federations_under_keys_of_2048_bits_equal_plain_to_the_bit() {
    let count = std::env::var("BLINDVOX_CEREMONIES").map_or(1, |n| n.parse().expect("a number"));
    (0..count).for_each(|number| one(number + 1_000_000, Some(2048)));
}

/// Every write of every party is once the last before its death, and once the one that death prevents.
#[test]
fn killing_any_party_at_any_write_ends_in_the_same_model() {
    let script = |scheme| Script::random(scheme, 20, 3, &[700, 3], &mut Prng::from_seed_for_tests([5; 32]));
    let mut whole = Parties::new(3, 3, 2, Default::default());
    let expected = script(SchemeKind::Plain).run(&mut whole).unwrap();
    let mut writes = 1;
    let mut write = 0;
    while write < writes {
        for after in [false, true] {
            let mut parties = Parties::new(3, 3, 2, Death::at(write, after));
            let opened = script(SchemeKind::Rlwe).run(&mut parties).unwrap_or_else(|e| panic!("write {write}: {e}"));
            assert!(opened.len() == 3 && opened.iter().all(|m| same(m, &expected[0])), "write {write}");
            writes = parties.death.writes();
            let log = parties.aggregator.log();
            let lines = audit::verify(log, &parties.roster.aggregator.key).unwrap();
            assert_eq!(lines, 5, "write {write}: {log}");
            assert_eq!(parties.kept("audit.jsonl"), log.as_bytes(), "write {write}");
        }
        write += 1;
    }
    assert!(write > 20, "{write} writes");
}
