//! Exact products of encrypted integers, and the noise that is left. `cargo run --release --example bfv_multiply`.

use blindvox_engine::bfv::levelled::{BatchEncoder, Evaluator, Params, SecretKey};
use blindvox_engine::rlwe::KeyRequest;
use blindvox_engine::{Device, Prng, Result};

/// Runs it.
pub(crate) fn main() -> Result<()> {
    let params = Params::n8192(30)?;
    let (device, mut prng, level) = (Device::cpu(), Prng::from_os()?, params.basis().len());
    let key = SecretKey::generate(&params, &device, &mut prng)?;
    let request = KeyRequest::new().relinearisation(level).row_rotations(&params, &[1], level);
    let eval = Evaluator::new(&params, &device, key.eval_keys(&request, &mut prng)?)?;
    let (encoder, t) = (BatchEncoder::new(&params)?, params.plain());

    let values: [Vec<u64>; 2] = [7, 11].map(|k| (0..params.n() as u64).map(|i| i * k * 1_000_003 % t).collect());
    let mut encrypt = |values: &[u64]| key.encrypt(&encoder.encode(values)?, &mut prng);
    let (a, b) = (encrypt(&values[0])?, encrypt(&values[1])?);
    let product = eval.multiply(&a, &b)?;
    let rotated = eval.rotate_rows(&product, 1)?;
    for (what, x) in [("fresh", &a), ("product", &product), ("rotated", &rotated)] {
        println!("{what}: {:.1} bits left by prediction, {:.1} as measured", x.budget(), key.budget(x)?);
        assert!(x.budget() <= key.budget(x)?);
    }

    let found = encoder.decode(&key.decrypt(&rotated)?);
    let product = |i: usize| (u128::from(values[0][i]) * u128::from(values[1][i]) % u128::from(t)) as u64;
    let half = params.n() / 2;
    assert!((0..params.n()).all(|i| found[i] == product(i / half * half + (i + 1) % half)));
    println!("{} products mod {t}, all right", params.n());
    Ok(())
}
