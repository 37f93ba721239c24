//! Exact arithmetic on encrypted vectors: random circuits of all operations against integers, noise below its
//! prediction.

use blindvox_engine::bfv::levelled::{
    BatchEncoder, Ciphertext, Evaluator, Params, Plaintext, PublicKey, SecretKey, Seeded,
};
use blindvox_engine::ring::primes::ntt_primes;
use blindvox_engine::rlwe::KeyRequest;
use blindvox_engine::{Device, Prng};

struct Setup {
    params: Params,
    key: SecretKey,
    eval: Evaluator,
    encoder: BatchEncoder,
    prng: Prng,
}

/// A ciphertext and what it should hold.
struct Pair(Ciphertext, Vec<u64>);

fn setup(params: Params) -> Setup {
    let (device, mut prng) = (Device::cpu(), Prng::from_seed_for_tests([7; 32]));
    let key = SecretKey::generate(&params, &device, &mut prng).unwrap();
    let level = params.basis().len();
    let request = KeyRequest::new().relinearisation(level).row_rotations(&params, &[1, 5], level);
    let keys = key.eval_keys(&request.row_exchange(&params, level), &mut prng).unwrap();
    let eval = Evaluator::new(&params, &device, keys).unwrap();
    Setup { encoder: BatchEncoder::new(&params).unwrap(), params, key, eval, prng }
}

impl Setup {
    fn t(&self) -> u128 {
        self.params.plain().into()
    }

    fn values(&mut self) -> Vec<u64> {
        let t = self.params.plain();
        let mut values: Vec<u64> = (0..self.params.n()).map(|_| self.prng.next_u64() % t).collect();
        values[..4].copy_from_slice(&[0, 1, t - 1, t / 2]);
        values
    }

    fn encrypt(&mut self) -> Pair {
        let values = self.values();
        let text = self.encoder.encode(&values).unwrap();
        Pair(self.key.encrypt(&text, &mut self.prng).unwrap(), values)
    }

    fn expect(&self, what: &str, x: &Pair) {
        let found = self.encoder.decode(&self.key.decrypt(&x.0).unwrap());
        assert!(*found == x.1, "{what}: {}", self.params.describe());
        let (predicted, measured) = (x.0.budget(), self.key.budget(&x.0).unwrap());
        assert!(0.0 < predicted && predicted <= measured, "{what}: {predicted:.1} bits, measured {measured:.1}");
    }

    fn zip(&self, a: &Pair, b: &[u64], f: impl Fn(u128, u128) -> u128) -> Vec<u64> {
        a.1.iter().zip(b).map(|(&a, &b)| (f(a.into(), b.into()) % self.t()) as u64).collect()
    }

    fn rotated(&self, a: &[u64], step: usize) -> Vec<u64> {
        let half = a.len() / 2;
        a.chunks_exact(half).flat_map(|row| (0..half).map(|i| row[(i + step) % half]).collect::<Vec<_>>()).collect()
    }

    /// The operation of a number on two operands, at the level of the lower one.
    fn apply(&mut self, operation: u32, a: &Pair, b: &Pair) -> Pair {
        let (eval, t) = (&self.eval, self.t());
        match operation {
            0 => Pair(eval.add(&a.0, &b.0).unwrap(), self.zip(a, &b.1, |a, b| a + b)),
            1 => Pair(eval.sub(&a.0, &b.0).unwrap(), self.zip(a, &b.1, |a, b| a + t - b)),
            2 => Pair(eval.multiply(&a.0, &b.0).unwrap(), self.zip(a, &b.1, |a, b| a * b)),
            3 => Pair(eval.square(&a.0).unwrap(), self.zip(a, &a.1, |a, b| a * b)),
            4 => Pair(eval.rotate_rows(&a.0, 5).unwrap(), self.rotated(&a.1, 5)),
            5 => Pair(eval.exchange_rows(&a.0).unwrap(), [&a.1[a.1.len() / 2..], &a.1[..a.1.len() / 2]].concat()),
            6 => Pair(eval.negate(&a.0).unwrap(), self.zip(a, &a.1, |a, _| t - a)),
            7 => {
                let values = self.values();
                let text = self.encoder.encode(&values).unwrap();
                Pair(self.eval.add_plain(&a.0, &text).unwrap(), self.zip(a, &values, |a, b| a + b))
            }
            _ => {
                let values = self.values();
                let text = self.encoder.encode(&values).unwrap();
                Pair(self.eval.multiply_plain(&a.0, &text).unwrap(), self.zip(a, &values, |a, b| a * b))
            }
        }
    }
}

#[test]
fn every_operation_is_exact_at_every_size() {
    for params in [Params::n4096(17), Params::n8192(20), Params::n16384(33), Params::n32768(60)] {
        let mut s = setup(params.unwrap());
        let (a, b) = (s.encrypt(), s.encrypt());
        s.expect("fresh", &a);
        for operation in 0..9 {
            let c = s.apply(operation, &a, &b);
            s.expect(&format!("operation {operation}"), &c);
        }
        let level = s.params.basis().len();
        let lower = Pair(s.eval.switch_to(&a.0, level - 1).unwrap(), a.1.clone());
        s.expect("switched", &lower);
        if level > 2 {
            let product = Pair(s.eval.square(&lower.0).unwrap(), s.zip(&a, &a.1, |a, b| a * b));
            s.expect("square at a lower level", &product);
        }
    }
}

/// Circuits of depth three, of products and eight other operations between them, every slot compared at every step.
#[test]
fn random_circuits_of_depth_three_are_exact() {
    for (bits, seed) in [(20, 1), (30, 2)] {
        let mut s = setup(Params::n16384(bits).unwrap());
        s.prng = Prng::from_seed_for_tests([seed; 32]);
        let mut pool: Vec<Pair> = (0..3).map(|_| s.encrypt()).collect();
        for depth in 0..3 {
            for _ in 0..4 {
                let draw = |s: &mut Setup, n: usize| s.prng.next_u32() as usize % n;
                let (i, j, operation) = (draw(&mut s, 3), draw(&mut s, 3), draw(&mut s, 7));
                let operation = [0, 1, 4, 5, 6, 7, 0][operation];
                let c = s.apply(operation, &pool[i], &pool[j]);
                s.expect(&format!("depth {depth}, operation {operation}"), &c);
                pool[i] = c;
            }
            let products =
                [s.apply(2, &pool[0], &pool[1]), s.apply(3, &pool[2], &pool[2]), s.apply(2, &pool[1], &pool[2])];
            products.iter().for_each(|p| s.expect(&format!("products of depth {depth}"), p));
            let level = products[0].0.level() - 1;
            pool = products.into_iter().map(|p| Pair(s.eval.switch_to(&p.0, level).unwrap(), p.1)).collect();
            pool.iter().for_each(|p| s.expect("switched", p));
        }
        let low = Pair(s.eval.switch_to(&pool[0].0, 2).unwrap(), pool[0].1.clone());
        s.expect("on two primes", &low);
    }
}

/// At the edges: messages whose coefficients, not slots, are the largest, and factors that make products wrap around t.
#[test]
fn messages_at_the_edges_are_exact() {
    let t = ntt_primes(59, 1024, 1).unwrap()[0];
    let params = Params::insecure_for_tests(1024, &[50; 6], &[50; 2], 2, t).unwrap();
    let s = &mut setup(params.clone());
    for fill in [0, 1, t - 1, t / 2, t / 2 + 1] {
        let text = Plaintext::from_coefficients(&params, vec![fill; 1024]).unwrap();
        let x = s.key.encrypt(&text, &mut s.prng).unwrap();
        let values = s.encoder.decode(&text).to_vec();
        let square = Pair(
            s.eval.square(&x).unwrap(),
            values.iter().map(|&v| (u128::from(v) * u128::from(v) % u128::from(t)) as u64).collect(),
        );
        s.expect("fresh", &Pair(x, values));
        s.expect("square", &square);
    }
    assert!(s.encoder.encode(&[t]).is_err() && Plaintext::from_coefficients(&params, vec![t; 1024]).is_err());
    assert!(s.encoder.encode(&vec![0; 1025]).is_err() && Plaintext::from_coefficients(&params, vec![0; 3]).is_err());
}

#[test]
fn errors_say_what_is_missing_and_bytes_come_back() {
    let t = ntt_primes(20, 1024, 1).unwrap()[0];
    let params = Params::insecure_for_tests(1024, &[40; 3], &[40], 1, t).unwrap();
    let mut s = setup(params.clone());
    let (x, device) = (s.encrypt(), s.key.device().clone());
    let low = s.eval.switch_to(&x.0, 1).unwrap();
    let says = |result: blindvox_engine::Result<Ciphertext>, what: &str| {
        let error = result.err().expect(what).to_string();
        assert!(error.contains(what), "{error}");
    };
    says(s.eval.add(&x.0, &low), "levels 3 and 1");
    says(s.eval.rotate_rows(&x.0, 7), "rotation by 7 at level 3");
    says(s.eval.switch_to(&low, 1), "level 1");
    says(s.eval.multiply(&low, &low), "noise passes what level 1 corrects");
    let bytes = x.0.to_bytes(&params).unwrap();
    assert_eq!(bytes.len(), Ciphertext::wire_len(&params, 3).unwrap());
    let back = Ciphertext::from_bytes(&params, &device, &bytes).unwrap();
    assert_eq!((back.to_bytes(&params).unwrap(), back.budget()), (bytes.clone(), x.0.budget()));
    for cut in (0..100).chain([bytes.len() - 1]) {
        assert!(Ciphertext::from_bytes(&params, &device, &bytes[..cut]).is_err());
    }
    for at in 0..50 {
        let mut other = bytes.clone();
        other[at] ^= 0x80;
        assert!(Ciphertext::from_bytes(&params, &device, &other).is_err() || at >= 42, "byte {at}");
    }
    let text = s.encoder.encode(&x.1).unwrap();
    let bytes = s.key.encrypt_seeded(&text, &mut s.prng).unwrap().to_bytes(&params);
    assert_eq!(bytes.len(), Seeded::wire_len(&params));
    let seeded = Seeded::from_bytes(&params, &bytes).unwrap();
    s.expect("seeded", &Pair(seeded.expand(&params, &device).unwrap(), x.1.clone()));
    for cut in (0..100).chain([bytes.len() - 1]) {
        assert!(Seeded::from_bytes(&params, &bytes[..cut]).is_err());
    }
    assert!(Seeded::from_bytes(&params, &[&bytes[..], &[0]].concat()).is_err());
    let mut unreduced = bytes.clone();
    unreduced[100..200].fill(0xff);
    assert!(Seeded::from_bytes(&params, &unreduced).is_err() && Seeded::from_bytes(&params, &bytes[1..]).is_err());
    let secret = s.key.to_secret_bytes();
    let key = SecretKey::from_secret_bytes(&params, &device, &secret).unwrap();
    assert_eq!((key.to_secret_bytes(), key.budget(&x.0).unwrap()), (secret, s.key.budget(&x.0).unwrap()));
    let public = s.key.public_key(&mut s.prng).unwrap().to_bytes();
    let public = PublicKey::from_bytes(&params, &device, &public).unwrap();
    let text = s.encoder.encode(&x.1).unwrap();
    let encrypted = Pair(public.encrypt(&text, &mut s.prng).unwrap(), x.1.clone());
    s.expect("public key", &encrypted);
    let other = Params::insecure_for_tests(1024, &[40; 2], &[40], 1, t).unwrap();
    assert!(Evaluator::new(&other, &device, s.key.eval_keys(&KeyRequest::new(), &mut s.prng).unwrap()).is_err());
}
