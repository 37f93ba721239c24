//! Other libraries, in the same run, and what is published of them.

use std::collections::HashMap;
use std::process::Command;

use blindvox_engine::ckks;

/// Milliseconds by scheme and operation.
pub(super) type Times = HashMap<(&'static str, &'static str), (&'static str, f64)>;

/// What OpenFHE is asked for.
const SCRIPT: &str = include_str!("openfhe.py");

/// SEAL with HEXL on one thread, as published: 4, 8 and 15 limbs of n = 8192, 16384 and 32768, on processors with
/// 52-bit products.
const SEAL: [(&str, [f64; 3]); 2] =
    [("multiply_relinearise_rescale", [0.64, 6.1, 41.9]), ("rotate", [0.52, 5.3, 37.2])];

/// What is published for a row of CKKS.
pub(super) fn published((scheme, op): (&str, &str), n: usize) -> Option<f64> {
    let place = [8192, 16384, 32768].iter().position(|&known| known == n)?;
    let row = SEAL.iter().find(|(known, _)| scheme == "ckks" && *known == op)?;
    Some(row.1[place])
}

/// OpenFHE's times at the same ring, limbs and digits. Its wheel is found by `$OPENFHE_PYTHON`, or `python3`.
pub(super) fn openfhe(params: &ckks::Params, times: &mut Times) {
    const OPERATIONS: [&str; 6] =
        ["encode", "encrypt", "add", "multiply_relinearise_rescale", "rotate", "hoisted_rotate"];
    let python = std::env::var("OPENFHE_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let (level, bits) = (params.basis().len(), |i: usize| params.basis().modulus(i).bits().to_string());
    let sizes = [params.n().to_string(), level.to_string(), bits(0), bits(level - 1), params.digits(level).to_string()];
    let ran = Command::new(&python).arg("-c").arg(SCRIPT).args(&sizes).env("OMP_NUM_THREADS", "1").output();
    let found: HashMap<String, f64> = match ran {
        Ok(out) if out.status.success() => serde_json::from_slice(&out.stdout).unwrap_or_default(),
        Ok(out) if out.status.code() == Some(3) => {
            return println!("OpenFHE is not installed for {python}: rows without it (set OPENFHE_PYTHON)");
        }
        Ok(out) => return println!("OpenFHE failed: {}", String::from_utf8_lossy(&out.stderr)),
        Err(e) => return println!("{python}: {e}: rows without OpenFHE"),
    };
    for op in OPERATIONS {
        if let Some(&ms) = found.get(op) {
            times.insert(("ckks", op), ("OpenFHE", ms));
        }
    }
}

/// The times of the crate `fhe` at the same ring, primes of ciphertexts and t, on this thread.
#[cfg(feature = "peers")]
pub(super) fn fhe(
    params: &blindvox_engine::bfv::levelled::Params,
    times: &mut Times,
) -> Result<(), Box<dyn std::error::Error>> {
    use fhe::bfv::{
        BfvParametersBuilder, Ciphertext, Encoding, EvaluationKeyBuilder, Plaintext, RelinearizationKey, SecretKey,
    };
    use fhe_traits::{FheDecoder, FheDecrypter, FheEncoder, FheEncrypter};

    use super::median;

    let mut builder = BfvParametersBuilder::new();
    builder.set_degree(params.n()).set_plaintext_modulus(params.plain());
    let peer = builder.set_moduli(&params.basis().values()).build_arc()?;
    let mut rng = rand::rng();
    let [x, y] = super::bfv::vectors(params.n(), params.plain());
    let key = SecretKey::random(&peer, &mut rng);
    let relinearisation = RelinearizationKey::new(&key, &mut rng)?;
    let rotation = EvaluationKeyBuilder::new(&key)?.enable_column_rotation(1)?.build(&mut rng)?;
    let text = Plaintext::try_encode(&x, Encoding::simd(), &peer)?;
    let a: Ciphertext = key.try_encrypt(&text, &mut rng)?;
    let b: Ciphertext = key.try_encrypt(&Plaintext::try_encode(&y, Encoding::simd(), &peer)?, &mut rng)?;
    let product = || {
        let mut product = &a * &b;
        relinearisation.relinearizes(&mut product)?;
        Ok::<_, fhe::Error>(product)
    };
    let found = Vec::<u64>::try_decode(&key.try_decrypt(&product()?)?, Encoding::simd())?;
    if (0..x.len()).any(|i| found[i] != x[i] * y[i] % params.plain()) {
        return Err("the product of the crate fhe is not right".into());
    }
    let mut add = |op, ms| times.insert(("bfv", op), ("fhe", ms));
    add("encode", median(|| Ok(Plaintext::try_encode(&x, Encoding::simd(), &peer)?))?);
    add("encrypt", median(|| Ok::<Ciphertext, _>(key.try_encrypt(&text, &mut rng)?))?);
    add("decrypt", median(|| Ok(key.try_decrypt(&a)?))?);
    add("add", median(|| Ok(&a + &b))?);
    add("multiply_relinearise", median(|| Ok(product()?))?);
    add("rotate", median(|| Ok(rotation.rotates_columns_by(&a, 1)?))?);
    Ok(())
}

/// Without the feature there is none to compare with.
#[cfg(not(feature = "peers"))]
pub(super) fn fhe(_: &blindvox_engine::bfv::levelled::Params, _: &mut Times) -> Result<(), Box<dyn std::error::Error>> {
    println!("the crate fhe is not built in: `--features peers` builds it");
    Ok(())
}
