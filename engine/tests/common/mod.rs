//! What tests of approximate arithmetic share.
#![allow(dead_code)]

use blindvox_engine::ckks::{Ciphertext, Complex, Decrypted, Encoder, Evaluator, Params, SecretKey};
use blindvox_engine::rlwe::KeyRequest;
use blindvox_engine::{Device, Prng};

/// Parameters, a key and an evaluator with what was asked for.
pub(crate) struct Setup {
    pub params: Params,
    pub key: SecretKey,
    pub eval: Evaluator,
    pub encoder: Encoder,
    pub prng: Prng,
}

/// A chain of `level` primes at n, of any security.
pub(crate) fn chain(n: usize, level: usize, first: u32, bits: u32, special: usize) -> Params {
    let builder = Params::builder(n).chain(first, &vec![bits; level - 1]).special(&vec![50; special]);
    builder.scale(bits).bound(1.0).insecure_for_tests().unwrap()
}

pub(crate) fn setup_on(device: &Device, params: Params, request: KeyRequest) -> Setup {
    let mut prng = Prng::from_seed_for_tests([42; 32]);
    let key = SecretKey::generate(&params, device, &mut prng).unwrap();
    let keys = key.eval_keys(&request, &mut prng).unwrap();
    let eval = Evaluator::new(&params, device, keys).unwrap();
    Setup { encoder: Encoder::new(&params), params, key, eval, prng }
}

pub(crate) fn setup(params: Params, request: KeyRequest) -> Setup {
    setup_on(&Device::cpu(), params, request)
}

/// Uniform in [-1, 1].
pub(crate) fn reals(prng: &mut Prng, count: usize) -> Vec<f64> {
    (0..count).map(|_| (prng.next_u64() as i64 as f64) / 2f64.powi(63)).collect()
}

/// Of absolute value up to 1.
pub(crate) fn complexes(prng: &mut Prng, count: usize) -> Vec<Complex> {
    let parts = reals(prng, 2 * count);
    parts.chunks_exact(2).map(|p| Complex::new(p[0], p[1]).scale(0.5f64.sqrt())).collect()
}

impl Setup {
    pub(crate) fn encrypt(&mut self, values: &[f64]) -> Ciphertext {
        let text = self.encoder.real(values, self.params.scale()).unwrap();
        self.key.encrypt(&text, &mut self.prng).unwrap()
    }

    pub(crate) fn encrypt_complex(&mut self, values: &[Complex]) -> Ciphertext {
        let text = self.encoder.complex(values, self.params.scale()).unwrap();
        self.key.encrypt(&text, &mut self.prng).unwrap()
    }

    /// Decrypts, and holds the error to the prediction: its root mean square, and its largest to twelve deviations. (In
    /// a slot, roundings are products of two values that are nearly Gaussian, with a tail of exp(-2 x).)
    pub(crate) fn expect(&self, what: &str, x: &Ciphertext, expected: &[Complex]) -> Decrypted {
        let found = self.key.decrypt(x).unwrap();
        let stats = found.stats(expected).unwrap();
        let predicted = x.error();
        assert!(stats.rms <= 1.1 * predicted, "{what}: rms {:e}, predicted {predicted:e}", stats.rms);
        assert!(stats.largest <= 12.0 * predicted, "{what}: {:e}, predicted {predicted:e}", stats.largest);
        found
    }

    pub(crate) fn expect_real(&self, what: &str, x: &Ciphertext, expected: &[f64]) -> Decrypted {
        self.expect(what, x, &expected.iter().map(|&x| x.into()).collect::<Vec<_>>())
    }
}
