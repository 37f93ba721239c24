use blindvox_engine::Prng;
use crypto_bigint::{BoxedUint, ConcatenatingMul};

use super::combine::{WrongAnswer, open, open_by};
use super::encrypt::{Packing, aggregate, seal};
use super::keys::{KeyShare, PublicKey};
use super::number::{boxed, from_bytes, limbs, to_bytes};
use super::proof::{Statement, proof_len, prove, verify};
use super::{answer::answer, dealer};
use crate::shamir::subsets;

fn prng(seed: u8) -> Prng {
    Prng::from_seed_for_tests([seed; 32])
}

fn key(which: usize, threshold: usize, holders: usize) -> (PublicKey, Vec<KeyShare>) {
    dealer::insecure_for_tests(which, threshold, holders, &mut prng(which as u8)).unwrap()
}

/// Numbers of clients below `limit`, and their sums.
fn clients(count: usize, numbers: usize, limit: u32, prng: &mut Prng) -> (Vec<Vec<u32>>, Vec<u32>) {
    let mut all: Vec<Vec<u32>> = (0..count).map(|_| prng.fill::<u32>(numbers)).collect();
    all.iter_mut().flatten().for_each(|x| *x %= limit);
    // The first is as large as it can be everywhere.
    all.iter_mut().for_each(|x| x[0] = limit - 1);
    let sums = (0..numbers).map(|i| all.iter().map(|x| x[i]).sum()).collect();
    (all, sums)
}

fn summed(key: &PublicKey, packing: &Packing, all: &[Vec<u32>], prng: &mut Prng) -> Vec<u8> {
    let mut sum = vec![];
    for numbers in all {
        aggregate(key, &mut sum, &seal(key, packing, numbers, prng).unwrap()).unwrap();
    }
    sum
}

/// c (1 + n)^x: a wrong answer with the same remainder modulo n.
fn with_factor(key: &PublicKey, c: &[u8], x: u64) -> Vec<u8> {
    let w = 2 * key.n().len();
    let n = boxed(key.n());
    let factor = limbs(&n.concatenating_mul(&boxed(&[x])), w + 1);
    let mut factor: Vec<u64> = factor[..w].to_vec();
    factor[0] += 1;
    to_bytes(&key.ring().multiply(&from_bytes(c), &factor)).to_vec()
}

/// Every subset of t opens, and every larger one; t - 1 don't.
#[test]
fn any_t_answers_open_and_fewer_do_not() {
    for (which, (t, h)) in [(1, 1), (2, 2), (2, 3), (3, 3), (3, 5), (5, 8)].into_iter().enumerate() {
        let (key, shares) = key(which % 4, t, h);
        let packing = Packing::new(&key, 18).unwrap();
        let (all, sums) = clients(4, 2 * packing.each() + 3, 1 << 16, &mut prng(9));
        let sum = summed(&key, &packing, &all, &mut prng(10));
        assert_eq!(sum.len(), 3 * key.ciphertext_len());
        let answers: Vec<_> = shares.iter().map(|share| answer(&key, share, &sum).unwrap()).collect();
        let parts: Vec<_> = (1..=h).zip(&answers).map(|(point, answer)| (point, &answer[..])).collect();
        for chosen in subsets(h, t) {
            let chosen: Vec<_> = chosen.iter().map(|&i| parts[i]).collect();
            assert_eq!(*open_by(&key, &packing, &chosen, sums.len()).unwrap(), sums, "{t} of {h}");
        }
        assert_eq!(*open(&key, &packing, &parts, sums.len()).unwrap(), sums);
        let few = open(&key, &packing, &parts[..t - 1], sums.len()).unwrap_err().to_string();
        assert!(few.contains(&format!("expected {t} or more")), "{few}");
        // t - 1 shares used as if they were t, of the key of a smaller threshold.
        if t > 1 {
            let mut bytes = key.to_bytes();
            bytes[1] -= 1;
            let fewer = PublicKey::from_bytes_insecure_for_tests(&bytes).unwrap();
            assert!(open_by(&fewer, &packing, &parts[..t - 1], sums.len()).is_err(), "{} of {h}", t - 1);
        }
    }
}

/// A wrong answer is seen, by u != u' or as no packed sum; then other holders' answers are tried.
#[test]
fn a_wrong_word_is_detected_wherever_it_is() {
    let (key, shares) = key(0, 2, 3);
    let packing = Packing::new(&key, 20).unwrap();
    let (all, sums) = clients(3, 2 * packing.each(), 1 << 16, &mut prng(11));
    let sum = summed(&key, &packing, &all, &mut prng(12));
    let answers: Vec<_> = shares.iter().map(|share| answer(&key, share, &sum).unwrap()).collect();
    let (len, prng) = (key.ciphertext_len(), &mut prng(13));
    let trials: usize = std::env::var("BLINDVOX_WRONG_WORDS").map_or(300, |n| n.parse().expect("a number"));
    for trial in 0..trials {
        let mut wrong = answers[1].clone();
        let word = trial % (wrong.len() / 4);
        wrong[4 * word..][..4].iter_mut().zip(prng.fill::<u8>(4)).for_each(|(x, y)| *x ^= y | 1);
        let error = open_by(&key, &packing, &[(1, &answers[0]), (2, &wrong)], sums.len()).unwrap_err();
        // Words that leave no integer below n^2 are seen before any is opened.
        assert!(error.ciphertext == 4 * word / len || error.ciphertext == 0, "{error:?} at {word}");
        let parts = [(1, &answers[0][..]), (2, &wrong[..]), (3, &answers[2][..])];
        assert_eq!(*open(&key, &packing, &parts, sums.len()).unwrap(), sums);
    }
    assert_eq!(
        open_by(&key, &packing, &[(1, &answers[0]), (2, &answers[2])], sums.len()),
        Err(WrongAnswer { ciphertext: 0 })
    );
    // A part that is short, of no holder or there twice is as if it had not come.
    let parts = [(7, &answers[0][..]), (0, &answers[0]), (2, &answers[1][1..]), (1, &answers[0]), (1, &answers[0])];
    assert!(open(&key, &packing, &parts, sums.len()).unwrap_err().to_string().starts_with("1 answers"));
}

/// An answer times (1 + n)^x has the same u: combining does not see it where x is a packed sum, proofs do.
#[test]
fn a_holder_that_lies_is_found_by_its_proof() {
    let (key, shares) = key(3, 2, 3);
    let packing = Packing::new(&key, 20).unwrap();
    let (all, sums) = clients(3, 3 * packing.each(), 1 << 16, &mut prng(14));
    let sum = summed(&key, &packing, &all, &mut prng(15));
    let (prng, len) = (&mut prng(16), key.ciphertext_len());
    for share in &shares {
        let answers = answer(&key, share, &sum).unwrap();
        let statement = Statement { context: b"round 1", point: share.point(), ciphertexts: &sum, answers: &answers };
        let proof = prove(&key, share, &statement, prng).unwrap();
        assert_eq!(proof.len(), proof_len(&key));
        verify(&key, &statement, &proof).unwrap();
        let held = |statement: &Statement<'_>, proof: &[u8]| verify(&key, statement, proof).is_ok();
        assert!(!held(&Statement { context: b"round 2", ..statement }, &proof));
        assert!(!held(&Statement { point: share.point() % 3 + 1, ..statement }, &proof));
        for i in 0..sum.len() / len {
            let mut lie = answers.clone();
            lie[i * len..][..len].copy_from_slice(&with_factor(
                &key,
                &answers[i * len..][..len],
                1 + prng.next_u64() % 1000,
            ));
            let lying = Statement { answers: &lie, ..statement };
            assert!(!held(&lying, &proof));
            assert!(!held(&lying, &prove(&key, share, &lying, prng).unwrap()), "a proof of a lie");
            // A negative answer has the same square, which is all that is proved and all that is used.
            lie[i * len..][..len].copy_from_slice(&negated(&key, &answers[i * len..][..len]));
            let lying = Statement { answers: &lie, ..statement };
            assert!(!held(&lying, &proof) && held(&lying, &prove(&key, share, &lying, prng).unwrap()));
        }
        for at in [0, 15, 16, proof.len() / 2] {
            let mut broken = proof.clone();
            broken[at] ^= 1;
            assert!(!held(&statement, &broken), "byte {at}");
        }
        assert!(!held(&statement, &proof[1..]) && !held(&statement, &[]));
    }
    // What a lie does: the sums are others, and nothing says so but the proof.
    let (first, second) = (answer(&key, &shares[0], &sum).unwrap(), answer(&key, &shares[1], &sum).unwrap());
    let lie = [&with_factor(&key, &second[..len], 5), &second[len..]].concat();
    let opened = open_by(&key, &packing, &[(1, &first), (2, &lie)], sums.len());
    assert!(opened.map_or(true, |opened| *opened != sums));
}

fn negated(key: &PublicKey, c: &[u8]) -> Vec<u8> {
    let n = boxed(key.n());
    let square: BoxedUint = n.concatenating_mul(&n);
    to_bytes(&limbs(&square.wrapping_sub(boxed(&from_bytes(c))), 2 * key.n().len())).to_vec()
}

#[test]
fn packing_holds_as_many_as_fit_and_no_more() {
    let (key, shares) = key(1, 1, 1);
    let prng = &mut prng(17);
    for bits in [1, 7, 16, 18, 31, 32] {
        let packing = Packing::new(&key, bits).unwrap();
        assert_eq!(packing.each(), 511 / bits as usize);
        let most = u32::MAX >> (32 - bits);
        let numbers = vec![most; 2 * packing.each() + 2];
        let sealed = seal(&key, &packing, &numbers, prng).unwrap();
        assert_eq!(sealed.len(), 3 * key.ciphertext_len());
        let parts = answer(&key, &shares[0], &sealed).unwrap();
        assert_eq!(*open(&key, &packing, &[(1, &parts)], numbers.len()).unwrap(), numbers);
        // Fewer numbers than there are: what is left over says that this is not the sum.
        assert!(open_by(&key, &packing, &[(1, &parts)], numbers.len() - 1).is_err());
        if bits < 32 {
            let error = seal(&key, &packing, &[0, most + 1], prng).unwrap_err().to_string();
            assert_eq!(error, format!("a number that is not below 2^{bits}"));
        }
    }
    for bits in [0, 33] {
        assert!(Packing::new(&key, bits).is_err());
    }
    assert!(seal(&key, &Packing::new(&key, 9).unwrap(), &[], prng).unwrap().is_empty());
}

/// The same numbers twice: no ciphertext is the other, as no alpha serves twice.
#[test]
fn encryption_is_fresh() {
    let (key, _) = key(2, 1, 1);
    let packing = Packing::new(&key, 16).unwrap();
    let prng = &mut prng(18);
    let sealed = seal(&key, &packing, &vec![7; 40 * packing.each()], prng).unwrap();
    let again = seal(&key, &packing, &vec![7; 40 * packing.each()], prng).unwrap();
    let mut all: Vec<_> = sealed.chunks(key.ciphertext_len()).chain(again.chunks(key.ciphertext_len())).collect();
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), 80);
}

#[test]
fn keys_and_shares_are_read_back_and_those_of_tests_refused() {
    let (key, shares) = key(0, 2, 3);
    let bytes = key.to_bytes();
    assert!(PublicKey::from_bytes(&bytes).unwrap_err().to_string().contains("512 bits"));
    let again = PublicKey::from_bytes_insecure_for_tests(&bytes).unwrap();
    assert_eq!((again.to_bytes(), again.threshold(), again.holders(), again.security_bits()), (bytes.clone(), 2, 3, 0));
    assert!(dealer::ceremony(1024, 2, 3, &mut prng(1)).is_err());
    for (t, h) in [(0, 3), (4, 3), (1, 0), (9, 17)] {
        assert!(dealer::ceremony(2048, t, h, &mut prng(1)).is_err(), "{t} of {h}");
    }
    for share in shares {
        let secret = share.to_secret_bytes();
        let again = KeyShare::from_secret_bytes(&key, &secret).unwrap();
        assert_eq!((again.point(), again.secret()), (share.point(), share.secret()));
        for bad in [&secret[1..], &[], &[&[4], &secret[1..]].concat(), &[&[0], &secret[1..]].concat()] {
            assert!(KeyShare::from_secret_bytes(&key, bad).is_err());
        }
    }
}

/// Bytes of peers: errors, no panics, and a sum that is as it was.
#[test]
fn hostile_bytes_are_errors() {
    let (key, shares) = key(0, 1, 2);
    let packing = Packing::new(&key, 16).unwrap();
    let prng = &mut prng(19);
    let sealed = seal(&key, &packing, &vec![3; 2 * packing.each()], prng).unwrap();
    let len = key.ciphertext_len();
    let zero = [&sealed[..len], &vec![0; len]].concat();
    let large = [&vec![255; len][..], &sealed[len..]].concat();
    for bad in [&sealed[1..], &zero, &large] {
        let mut sum = sealed.clone();
        assert!(aggregate(&key, &mut sum, bad).is_err() && sum == sealed);
        let mut sum = vec![];
        assert!(aggregate(&key, &mut sum, bad).is_err() && sum.is_empty());
        assert!(answer(&key, &shares[0], bad).is_err());
        assert!(open(&key, &packing, &[(1, bad)], 2 * packing.each()).is_err());
    }
    assert!(aggregate(&key, &mut sealed.clone(), &sealed[..len]).is_err());
    let bytes = key.to_bytes();
    for at in 0..bytes.len() {
        let _ = PublicKey::from_bytes_insecure_for_tests(&bytes[..at]);
        if at < 40 || at % 37 == 0 {
            for flip in [1, 0x80, 0xff] {
                let mut broken = bytes.clone();
                broken[at] ^= flip;
                let _ = PublicKey::from_bytes_insecure_for_tests(&broken);
            }
        }
    }
}

/// A key of full length, once: safe primes take seconds.
#[test]
fn a_ceremony_of_2048_bits_makes_a_key_that_opens() {
    let (key, shares) = dealer::ceremony(2048, 2, 3, &mut prng(20)).unwrap();
    let key = PublicKey::from_bytes(&key.to_bytes()).unwrap();
    assert_eq!((key.bits(), key.security_bits(), key.ciphertext_len()), (2048, 112, 512));
    let packing = Packing::new(&key, 18).unwrap();
    assert_eq!((packing.each(), packing.ciphertexts(400_000)), (113, 3540));
    let (all, sums) = clients(3, 300, 1 << 16, &mut prng(21));
    let sum = summed(&key, &packing, &all, &mut prng(22));
    let answers: Vec<_> = shares.iter().map(|share| answer(&key, share, &sum).unwrap()).collect();
    for (i, j) in [(0, 1), (2, 0), (1, 2)] {
        let parts = [(i + 1, &answers[i][..]), (j + 1, &answers[j][..])];
        assert_eq!(*open(&key, &packing, &parts, 300).unwrap(), sums);
    }
    let statement = Statement { context: b"", point: 2, ciphertexts: &sum, answers: &answers[1] };
    let proof = prove(&key, &shares[1], &statement, &mut prng(23)).unwrap();
    assert!(proof.len() < 580);
    verify(&key, &statement, &proof).unwrap();
}
