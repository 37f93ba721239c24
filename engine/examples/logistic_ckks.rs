//! Scores of a logistic regression on encrypted records. `cargo run --release --example logistic_ckks`.

use blindvox_engine::ckks::{Encoder, Evaluator, Params, Polynomial, Rotations, SecretKey};
use blindvox_engine::{Device, Prng, Result};

/// Features of a record.
const FEATURES: usize = 32;

/// Runs it.
pub(crate) fn main() -> Result<()> {
    let params = Params::builder(16384).chain(50, &[40; 6]).special(&[50; 2]).scale(40).bound(1.0).build()?;
    let (device, mut prng, level) = (Device::cpu(), Prng::from_os()?, params.basis().len());
    let key = SecretKey::generate(&params, &device, &mut prng)?;
    let sums = Rotations::exact(&Evaluator::sum_rotations(FEATURES).steps().collect::<Vec<_>>());
    let keys = key.eval_keys(&sums.request(&params, level).relinearisation(level), &mut prng)?;
    println!("keys of {:.1} MB", keys.to_bytes()?.len() as f64 / 1e6);

    // 256 records in one ciphertext, each in 32 slots.
    let feature = |i: usize| ((i * 7919 % 1009) as f64 / 504.0 - 1.0).clamp(-1.0, 1.0);
    let records: Vec<f64> = (0..params.slots()).map(feature).collect();
    let encoder = Encoder::new(&params);
    let sent = key.encrypt(&encoder.real(&records, params.scale())?, &mut prng)?;

    // The model: weights whose absolute values come to 6 at most, and a bias.
    let (weights, bias): (Vec<f64>, f64) = ((0..FEATURES).map(|i| (i as f64 * 0.7).cos() / 6.0).collect(), 0.25);
    // Scores are within 8: an eighth of the weights takes them to the interval of Chebyshev's polynomials.
    let repeated: Vec<f64> = (0..params.slots()).map(|i| weights[i % FEATURES] / 8.0).collect();
    let eval = Evaluator::new(&params, &device, keys)?;
    let weighted = eval.multiply_plain(&sent, &encoder.real(&repeated, params.scale())?)?;
    let scores = eval.add_scalar(&eval.sum(&eval.rescale(&weighted)?, FEATURES)?, bias / 8.0)?;
    let sigmoid = Polynomial::chebyshev(|x| 1.0 / (1.0 + (-8.0 * x).exp()), [-1.0, 1.0], 15)?;
    let result = eval.polynomial(&scores, &sigmoid, 2f64.powi(35))?;
    println!("{:?}", result.budget());

    let found = key.decrypt(&result)?.real();
    let mut largest = [0.0f64; 2];
    for (record, features) in records.chunks_exact(FEATURES).enumerate() {
        let score: f64 = features.iter().zip(&weights).map(|(x, w)| x * w).sum::<f64>() + bias;
        let found = found[record * FEATURES];
        largest[0] = largest[0].max((found - sigmoid.value(score / 8.0)).abs());
        largest[1] = largest[1].max((found - 1.0 / (1.0 + (-score).exp())).abs());
    }
    println!("largest error {:.1e} of the polynomial, {:.1e} of the function", largest[0], largest[1]);
    assert!(largest[0] < 12.0 * result.error() && largest[1] < 0.02);
    Ok(())
}
