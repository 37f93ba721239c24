//! The rows of BFV.

use blindvox_engine::Prng;
use blindvox_engine::bfv::levelled::{BatchEncoder, Evaluator, Params, SecretKey};
use blindvox_engine::rlwe::KeyRequest;

use super::{Outcome, Table, median, synced, transform};

/// 8192 with 4 limbs, 16384 with 8, 32768 with 15; t of 20 bits.
pub(super) fn params(n: usize) -> blindvox_engine::Result<Params> {
    match n {
        8192 => Params::n8192(20),
        16384 => Params::n16384(20),
        _ => Params::n32768(20),
    }
}

/// The vectors that are multiplied.
pub(super) fn vectors(n: usize, t: u64) -> [Vec<u64>; 2] {
    [7919, 104_729].map(|k| (0..n as u64).map(|i| i * k % t).collect())
}

pub(super) fn operations(table: &mut Table, n: usize) -> Outcome {
    let (device, params) = (table.device.clone(), params(n)?);
    let (mut prng, level, t) = (Prng::from_os()?, params.basis().len(), params.plain());
    let sizes = [n, level, params.special().map_or(0, |p| p.len())];
    let key = SecretKey::generate(&params, &device, &mut prng)?;
    let request = KeyRequest::new().relinearisation(level).row_rotations(&params, &[1], level);
    let eval = Evaluator::new(&params, &device, key.eval_keys(&request, &mut prng)?)?;
    let (encoder, [x, y]) = (BatchEncoder::new(&params)?, vectors(n, t));
    let text = encoder.encode(&x)?;
    let (a, b) = (key.encrypt(&text, &mut prng)?, key.encrypt(&encoder.encode(&y)?, &mut prng)?);
    let right = |c: &blindvox_engine::bfv::levelled::Ciphertext, expected: &dyn Fn(usize) -> u64| {
        let found = encoder.decode(&key.decrypt(c)?);
        Ok::<_, blindvox_engine::Error>(found.iter().enumerate().all(|(i, &v)| v == expected(i)))
    };
    let one = transform(&device, &params)?;
    let switch = one * ((params.digits(level) + 2) * (level + sizes[2])) as f64;

    let ms = median(|| Ok(encoder.encode(&x)?))?;
    table.row(("bfv", "encode"), sizes, ms, None, right(&a, &|i| x[i])?);
    let ms = median(|| Ok(key.encrypt(&text, &mut prng)?))?;
    table.row(("bfv", "encrypt"), sizes, ms, Some(one * 2.0 * level as f64), right(&a, &|i| x[i])?);
    let ms = median(|| Ok(key.decrypt(&a)?))?;
    table.row(("bfv", "decrypt"), sizes, ms, None, right(&a, &|i| x[i])?);
    let ms = median(|| synced(&device, eval.add(&a, &b)?))?;
    table.row(("bfv", "add"), sizes, ms, None, right(&eval.add(&a, &b)?, &|i| (x[i] + y[i]) % t)?);
    let ms = median(|| synced(&device, eval.multiply(&a, &b)?))?;
    let checked = right(&eval.multiply(&a, &b)?, &|i| x[i] * y[i] % t)?;
    table.row(("bfv", "multiply_relinearise"), sizes, ms, None, checked);
    let ms = median(|| synced(&device, eval.rotate_rows(&a, 1)?))?;
    let half = n / 2;
    let checked = right(&eval.rotate_rows(&a, 1)?, &|i| x[i / half * half + (i + 1) % half])?;
    table.row(("bfv", "rotate"), sizes, ms, Some(switch), checked);
    Ok(())
}
