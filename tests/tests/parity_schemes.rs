//! CKKS and BFV on the GPU backend: a circuit of all operations leaves the ciphertexts that it leaves on the CPU, byte
//! for byte, with both bodies of the word arithmetic.
//!
//! Without a Vulkan adapter the test says so and passes, except under `CI`, where one must be there.

use blindvox_engine::bfv::levelled as bfv;
use blindvox_engine::ckks::{self, Encoder, LinearMap, Polynomial, Rotations};
use blindvox_engine::ring::primes::ntt_primes;
use blindvox_engine::rlwe::KeyRequest;
use blindvox_engine::{Device, Prng};
use blindvox_tests::gpu_devices;

/// What an operation left.
type Left = (&'static str, Vec<u8>);

fn ckks_circuit(device: &Device, params: &ckks::Params) -> Vec<Left> {
    let (mut prng, level) = (Prng::from_seed_for_tests([3; 32]), params.basis().len());
    let key = ckks::SecretKey::generate(params, device, &mut prng).unwrap();
    let matrix: Vec<f64> = (0..256).map(|i| f64::from(i * 37 % 101) / 1000.0 - 0.05).collect();
    let map = LinearMap::from_matrix(16, &matrix).unwrap();
    let rotations = Rotations::exact(&[1, 2, 3]).request(params, level).and(&map.rotations().request(params, level));
    let request = rotations.relinearisation(level).conjugation(params, level);
    let keys = key.eval_keys(&request, &mut prng).unwrap();
    let mut left = vec![("keys", keys.to_bytes().unwrap())];
    let public = key.public_key(&mut prng).unwrap();
    let eval = ckks::Evaluator::new(params, device, keys).unwrap();
    let encoder = Encoder::new(params).with_slots(16).unwrap();
    let values: Vec<f64> = (0..16).map(|i| f64::from(i * 29 % 31) / 40.0 - 0.35).collect();
    let text = encoder.real(&values, params.scale()).unwrap();
    let (x, y) = (key.encrypt(&text, &mut prng).unwrap(), public.encrypt(&text, &mut prng).unwrap());
    let product = eval.multiply(&x, &y).unwrap();
    let square = eval.rescale(&eval.square(&x).unwrap()).unwrap();
    let (p, q) = eval.align(&square, &x).unwrap();
    let prepared = map.prepare(params, device, (level, x.scale()), (x.scale(), 1)).unwrap();
    let polynomial = Polynomial::chebyshev(|x| 1.0 / (1.0 + (-4.0 * x).exp()), [-1.0, 1.0], 7).unwrap();
    let hoisted = eval.hoist(&x).unwrap();
    let rotated = eval.rotate_many(&hoisted, &[2, 3]).unwrap();
    let results = [
        ("add", eval.add(&x, &y).unwrap()),
        ("sub", eval.sub(&x, &y).unwrap()),
        ("negate", eval.negate(&x).unwrap()),
        ("add_plain", eval.add_plain(&x, &text).unwrap()),
        ("multiply_plain", eval.multiply_plain(&x, &text).unwrap()),
        ("mul_scalar", eval.mul_scalar(&x, 0.7, 1e9).unwrap()),
        ("rescale_by", eval.rescale_by(&product, 2).unwrap()),
        ("align", eval.add(&p, &q).unwrap()),
        ("rotate", eval.rotate(&x, 1).unwrap()),
        ("conjugate", eval.conjugate(&x).unwrap()),
        ("sum", eval.sum(&x, 4).unwrap()),
        ("linear", eval.linear(&x, &prepared).unwrap()),
        ("polynomial", eval.polynomial(&x, &polynomial, params.scale()).unwrap()),
        ("rerandomise", public.rerandomise(&eval.drop_to(&square, 1).unwrap(), 2, &mut prng).unwrap()),
    ];
    let all =
        results.into_iter().chain([("x", x.duplicate().unwrap()), ("y", y), ("product", product), ("square", square)]);
    left.extend(
        all.chain(rotated.into_iter().map(|r| ("rotate_many", r))).map(|(name, c)| (name, c.to_bytes(params).unwrap())),
    );
    let real = key.decrypt(&x).unwrap().real();
    left.push(("decrypt", real.iter().flat_map(|x| x.to_le_bytes()).collect()));
    left
}

fn bfv_circuit(device: &Device, params: &bfv::Params) -> Vec<Left> {
    let (mut prng, level) = (Prng::from_seed_for_tests([4; 32]), params.basis().len());
    let key = bfv::SecretKey::generate(params, device, &mut prng).unwrap();
    let request = KeyRequest::new().relinearisation(level).row_rotations(params, &[1, 5], level);
    let keys = key.eval_keys(&request.row_exchange(params, level), &mut prng).unwrap();
    let eval = bfv::Evaluator::new(params, device, keys).unwrap();
    let encoder = bfv::BatchEncoder::new(params).unwrap();
    let values: Vec<u64> = (0..params.n() as u64).map(|i| i * 12_345_677 % params.plain()).collect();
    let text = encoder.encode(&values).unwrap();
    let x = key.encrypt(&text, &mut prng).unwrap();
    let y = key.public_key(&mut prng).unwrap().encrypt(&text, &mut prng).unwrap();
    let product = eval.multiply(&x, &y).unwrap();
    let lower = eval.switch_to(&product, level - 1).unwrap();
    let decrypted = encoder.decode(&key.decrypt(&product).unwrap());
    let results = [
        ("add", eval.add(&x, &y).unwrap()),
        ("sub", eval.sub(&x, &y).unwrap()),
        ("add_plain", eval.add_plain(&x, &text).unwrap()),
        ("multiply_plain", eval.multiply_plain(&x, &text).unwrap()),
        ("rotate_rows", eval.rotate_rows(&x, 5).unwrap()),
        ("exchange_rows", eval.exchange_rows(&x).unwrap()),
        ("square at a lower level", eval.square(&lower).unwrap()),
        ("x", x),
        ("y", y),
        ("product", product),
        ("switch_to", lower),
    ];
    let mut left: Vec<Left> = results.into_iter().map(|(name, c)| (name, c.to_bytes(params).unwrap())).collect();
    left.push(("decrypt", decrypted.iter().flat_map(|x| x.to_le_bytes()).collect()));
    left
}

fn compare(what: &str, run: impl Fn(&Device) -> Vec<Left>) {
    let devices = gpu_devices(false);
    if devices.is_empty() {
        return;
    }
    let expected = run(&Device::cpu());
    for gpu in devices {
        for ((name, expected), (_, found)) in expected.iter().zip(run(&gpu)) {
            assert!(*expected == found, "{what}, {name} on {gpu:?}");
        }
    }
}

#[test]
fn ckks_leaves_the_same_ciphertexts() {
    for (n, special) in [(1024, 1), (4096, 2)] {
        let builder = ckks::Params::builder(n).chain(50, &[40; 5]).special(&vec![50; special]).scale(40).bound(1.0);
        let params = builder.insecure_for_tests().unwrap();
        compare(&format!("ckks, n = {n}"), |device| ckks_circuit(device, &params));
    }
}

#[test]
fn bfv_leaves_the_same_ciphertexts() {
    let t = ntt_primes(33, 2048, 1).unwrap()[0];
    let params = bfv::Params::insecure_for_tests(2048, &[48; 4], &[48, 48], 2, t).unwrap();
    compare("bfv", |device| bfv_circuit(device, &params));
}
