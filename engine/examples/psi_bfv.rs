//! Which of 64 items of a client are among 4096 of a server. `cargo run --release --example psi_bfv`.
//!
//! The client encrypts each item x in a slot of its own, repeated; the server holds its items in bins of slots and
//! returns r prod (x - y) over each, r random and not zero: zero where one of them is x, random otherwise. Items are
//! 40-bit hashes. Both parties are semi-honest. The client learns for each item whether it is there, and nothing else
//! of the server's but what the noise of the answer tells, which no flood covers here.

use blindvox_engine::bfv::levelled::{BatchEncoder, Ciphertext, Evaluator, Params, SecretKey};
use blindvox_engine::rlwe::KeyRequest;
use blindvox_engine::{Device, Prng, Result};

/// Items of the client and of the server.
const ITEMS: [usize; 2] = [64, 4096];

/// The product of all, pair by pair: of log2 of their number levels.
fn product(eval: &Evaluator, mut all: Vec<Ciphertext>) -> Result<Ciphertext> {
    while all.len() > 1 {
        let pairs = all.chunks(2).map(|pair| match pair {
            [a, b] => eval.multiply(a, b),
            [a] => a.duplicate(),
            _ => unreachable!("chunks of two"),
        });
        all = pairs.collect::<Result<_>>()?;
    }
    Ok(all.remove(0))
}

/// Runs it.
pub(crate) fn main() -> Result<()> {
    let params = Params::n16384(41)?;
    let (device, mut prng, level) = (Device::cpu(), Prng::from_os()?, params.basis().len());
    let (n, t, encoder) = (params.n(), params.plain(), BatchEncoder::new(&params)?);

    // The server's items, and the client's: every second one of those is among them.
    let hash = |i: u64| i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 24;
    let server: Vec<u64> = (0..ITEMS[1] as u64).map(hash).collect();
    let client: Vec<u64> =
        (0..ITEMS[0] as u64).map(|i| if i % 2 == 0 { hash(i * 61) } else { hash(1 << 20 | i) }).collect();

    // The client: item i in the slots i, i + 64, ...
    let key = SecretKey::generate(&params, &device, &mut prng)?;
    let keys = key.eval_keys(&KeyRequest::new().relinearisation(level), &mut prng)?;
    let repeated: Vec<u64> = (0..n).map(|slot| client[slot % ITEMS[0]]).collect();
    let sent = key.encrypt(&encoder.encode(&repeated)?, &mut prng)?;

    // The server: a bin of 16 items for each of the n / 64 = 256 copies, a bin's k-th item in polynomial k.
    let (eval, bins) = (Evaluator::new(&params, &device, keys)?, n / ITEMS[0]);
    let factors = (0..ITEMS[1] / bins).map(|k| {
        let minus: Vec<u64> = (0..n).map(|slot| (t - server[k * bins + slot / ITEMS[0]]) % t).collect();
        eval.add_plain(&sent, &encoder.encode(&minus)?)
    });
    let factors = factors.collect::<Result<Vec<_>>>()?;
    let mask: Vec<u64> = (0..n).map(|_| 1 + prng.next_u64() % (t - 1)).collect();
    let answer = eval.multiply_plain(&product(&eval, factors)?, &encoder.encode(&mask)?)?;
    let answer = eval.switch_to(&answer, 3)?;
    println!("{:.1} bits left, answer of {} kB", answer.budget(), Ciphertext::wire_len(&params, 3)? / 1000);

    // The client: is any of an item's copies zero?
    let found = encoder.decode(&key.decrypt(&answer)?);
    for (i, item) in client.iter().enumerate() {
        let there = (0..bins).any(|bin| found[bin * ITEMS[0] + i] == 0);
        assert_eq!(there, server.contains(item), "item {i}");
    }
    println!(
        "{} of {} items are there; all answers are right",
        client.iter().filter(|x| server.contains(x)).count(),
        ITEMS[0]
    );
    Ok(())
}
