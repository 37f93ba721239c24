//! Many rotations of one ciphertext, which is decomposed once: a moving average. `cargo run --release --example
//! ckks_rotate_many`.

use blindvox_engine::ckks::{Encoder, Evaluator, Params, Rotations, SecretKey};
use blindvox_engine::{Device, Prng, Result};

/// Runs it.
pub(crate) fn main() -> Result<()> {
    let params = Params::builder(8192).chain(50, &[40, 40]).special(&[50]).scale(40).bound(1.0).build()?;
    let (device, mut prng) = (Device::cpu(), Prng::from_os()?);
    let steps = [-2, -1, 1, 2];
    let key = SecretKey::generate(&params, &device, &mut prng)?;
    let keys = key.eval_keys(&Rotations::exact(&steps).request(&params, 3), &mut prng)?;
    let x: Vec<f64> = (0..params.slots()).map(|i| if i % 100 < 50 { 1.0 } else { -1.0 }).collect();
    let sent = key.encrypt(&Encoder::new(&params).real(&x, params.scale())?, &mut prng)?;

    let eval = Evaluator::new(&params, &device, keys)?;
    let hoisted = eval.hoist(&sent)?;
    let mut sum = sent.duplicate()?;
    for rotated in eval.rotate_many(&hoisted, &steps)? {
        sum = eval.add(&sum, &rotated)?;
    }
    let mean = eval.rescale(&eval.mul_scalar(&sum, 0.2, params.scale())?)?;

    let found = key.decrypt(&mean)?;
    let at = |i: i64| x[i.rem_euclid(x.len() as i64) as usize];
    let expected = |i: usize| (-2..=2).map(|step| at(i as i64 + step)).sum::<f64>() / 5.0;
    let errors = found.real().iter().enumerate().map(|(i, y)| (y - expected(i)).abs()).fold(0.0, f64::max);
    println!("largest error {errors:.2e}, predicted deviation {:.2e}", mean.error());
    assert!(errors < 12.0 * mean.error());
    assert!(eval.rotate(&sent, 3).is_err(), "no rotation is composed silently");
    Ok(())
}
