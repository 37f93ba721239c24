//! What products modulo n^2 cost, n of 2048 bits, on every body of this processor and by `crypto-bigint`, in processor
//! time of one thread:
//!
//!     RAYON_NUM_THREADS=1 cargo run --release -p blindvox-engine --example bigint

use std::fs;

use blindvox_engine::bigint::{Body, Exponents, Ring};
use blindvox_engine::{Prng, Result};
use crypto_bigint::modular::{BoxedMontyForm, BoxedMontyParams};
use crypto_bigint::{BoxedUint, Odd};

/// Limbs of n.
const LIMBS: usize = 32;
/// Bits of the exponent of an answer.
const ANSWER: usize = 4100;
/// Bits of the exponent of an encryption.
const ALPHA: usize = 1024;
/// Numbers at a time: what every body's lanes divide.
const COUNT: usize = 8;
const PRODUCTS: usize = 2000;

/// Seconds that this process's threads ran; what others do on the machine doesn't count.
fn processor_time() -> f64 {
    let tasks = fs::read_dir("/proc/self/task").expect("Linux").flatten();
    let spent = tasks.map(|task| fs::read_to_string(task.path().join("schedstat")).unwrap_or_default());
    spent.filter_map(|text| text.split(' ').next()?.parse::<f64>().ok()).sum::<f64>() * 1e-9
}

/// The least of five runs.
fn least(mut work: impl FnMut()) -> f64 {
    let run = |_| {
        let start = processor_time();
        work();
        processor_time() - start
    };
    (0..5).map(run).fold(f64::MAX, f64::min)
}

fn draw(limbs: usize, prng: &mut Prng) -> Vec<u64> {
    prng.fill(limbs)
}

fn print(name: &str, product: f64, answer: f64, encryption: Option<f64>) {
    let encryption = encryption.map_or("-".to_owned(), |seconds| format!("{:.3}", seconds * 1e3));
    println!("{name:14} {:10.2} {:12.2} {encryption:>14}", product * 1e6, answer * 1e3);
}

fn main() -> Result<()> {
    let prng = &mut Prng::from_seed_for_tests([1; 32]);
    let mut n = draw(LIMBS, prng);
    (n[0], n[LIMBS - 1]) = (n[0] | 1, n[LIMBS - 1] | 1 << 63);
    let mut x = draw(2 * LIMBS * COUNT, prng);
    x.chunks_exact_mut(2 * LIMBS).for_each(|x| x[2 * LIMBS - 1] >>= 3);
    let mut messages = draw(LIMBS * COUNT, prng);
    messages.chunks_exact_mut(LIMBS).for_each(|m| m[LIMBS - 1] >>= 3);
    let mut exponent = draw(ANSWER.div_ceil(64), prng);
    *exponent.last_mut().expect("limbs") &= (1 << (ANSWER % 64)) - 1;
    let alphas = draw(ALPHA / 64 * COUNT, prng);
    println!("{:14} {:>10} {:>12} {:>14}", "a number", "product us", "answer ms", "encryption ms");
    for body in Body::available() {
        let ring = Ring::with_body(&n, body)?;
        let table = ring.fixed_base(&x[..2 * LIMBS], ALPHA);
        let each = COUNT as f64;
        let product = least(|| _ = ring.multiply_repeatedly(&x, &x, PRODUCTS)) / (each * PRODUCTS as f64);
        let answer = least(|| _ = ring.power(&x, &Exponents { limbs: &exponent, bits: ANSWER })) / each;
        let encryption = least(|| _ = ring.blind(&table, &Exponents { limbs: &alphas, bits: ALPHA }, &messages)) / each;
        print(&format!("{body:?}"), product, answer, Some(encryption));
    }
    let square = BoxedUint::from_words(n.iter().copied());
    let square = crypto_bigint::ConcatenatingMul::concatenating_mul(&square, &square);
    let params = BoxedMontyParams::new(Odd::new(square).expect("odd"));
    let base = BoxedMontyForm::new(BoxedUint::from_words(x[..2 * LIMBS].iter().copied()), &params);
    let exponent = BoxedUint::from_words(exponent);
    let product = least(|| _ = (0..PRODUCTS).fold(base.clone(), |y, _| &y * &base)) / PRODUCTS as f64;
    let answer = least(|| _ = base.pow_bounded_exp(&exponent, ANSWER as u32));
    print("crypto-bigint", product, answer, None);
    Ok(())
}
