//! A matrix times an encrypted vector. `cargo run --release --example ckks_matrix_vector`.

use blindvox_engine::ckks::{Encoder, Evaluator, LinearMap, Params, SecretKey};
use blindvox_engine::{Device, Prng, Result};

/// Runs it.
pub(crate) fn main() -> Result<()> {
    let params = Params::builder(8192).chain(50, &[40, 40]).special(&[50]).scale(40).bound(1.0).build()?;
    let (device, mut prng) = (Device::cpu(), Prng::from_os()?);

    // What is to be computed is public, so the owner of the vector can make just the keys for it.
    let (rows, columns) = (96, 128);
    let matrix: Vec<f64> = (0..rows * columns).map(|i| ((i * 37 % 101) as f64 - 50.0) / 5000.0).collect();
    let map = LinearMap::from_matrix(rows, &matrix)?;
    let key = SecretKey::generate(&params, &device, &mut prng)?;
    let keys = key.eval_keys(&map.rotations().request(&params, 3), &mut prng)?;
    println!("{} rotations, keys of {:.1} MB", keys.request().elements().len(), keys.to_bytes()?.len() as f64 / 1e6);

    // The owner encrypts.
    let x: Vec<f64> = (0..columns).map(|i| (i as f64 / 10.0).sin()).collect();
    let encoder = Encoder::new(&params).with_slots(map.slots())?;
    let sent = key.encrypt(&encoder.real(&x, params.scale())?, &mut prng)?;

    // The other party multiplies: at the same scale again, a level below.
    let eval = Evaluator::new(&params, &device, keys)?;
    let prepared = map.prepare(&params, &device, (sent.level(), sent.scale()), (params.scale(), 1))?;
    let y = eval.linear(&sent, &prepared)?;
    println!("{:?}", y.budget());

    // The owner decrypts.
    let found = key.decrypt(&y)?.real();
    let product = |row: &[f64]| row.iter().zip(&x).map(|(w, x)| w * x).sum::<f64>();
    let errors = matrix.chunks_exact(columns).zip(&*found).map(|(row, y)| (product(row) - y).abs());
    let largest = errors.fold(0.0, f64::max);
    println!("largest error {largest:.2e}, predicted deviation {:.2e}", y.error());
    assert!(largest < 6.0 * y.error());
    Ok(())
}
