use proptest::prelude::*;

use blindvox_engine::bfv::Params;
use blindvox_engine::bfv::noise::{Budget, product_bound};
use blindvox_engine::ring::primes::DEFAULT_60;
use blindvox_engine::rlwe::wire;
use blindvox_engine::{Device, PolyBatch};
use blindvox_models::LinearKind;
use blindvox_net::channel::local_pair;

use super::*;
use crate::linear::LinearSpec;
use crate::linear::coefficients::search::factor_norm;
use crate::linear::coefficients::{Encoding, Geometry};
use crate::linear::op::ConvShape;

fn prng(seed: u8) -> Prng {
    Prng::from_seed_for_tests([seed; 32])
}

fn key(params: &Params) -> (SecretKey, PublicKey) {
    let secret = SecretKey::generate(params, &Device::cpu(), &mut prng(1)).unwrap();
    let public = secret.public_key(&mut prng(2)).unwrap();
    (secret, public)
}

fn spec(kind: LinearKind, inputs: usize, outputs: usize, size: [usize; 3]) -> LinearSpec {
    let output_size = kind.output_dims(size);
    LinearSpec { name: "dec.1.0".to_owned(), kind, inputs, outputs, size, output_size, weight_bits: 12 }
}

/// Weights over the whole range and shares of anything.
fn model(plan: &Plan, seed: u8) -> (Vec<i32>, Vec<u32>, Vec<u32>) {
    let mut prng = prng(seed);
    let shift = 32 - plan.spec().weight_bits;
    let weights = prng.fill::<i32>(plan.weights_len()).iter().map(|w| w >> shift).collect();
    (weights, prng.fill(plan.input_len()), prng.fill(plan.input_len()))
}

fn add(a: &[u32], b: &[u32]) -> Vec<u32> {
    a.iter().zip(b).map(|(a, b)| a.wrapping_add(*b)).collect()
}

/// Runs both parties; checks the result exactly, and the bytes against the plan.
fn check(plan: &Plan, bias: Bias<'_>, seed: u8) {
    let (secret, public) = key(plan.params());
    let (weights, x_client, x_server) = model(plan, seed);
    let (mut to_server, mut to_client) = local_pair();
    let (y_client, y_server) = std::thread::scope(|scope| {
        let there = scope.spawn(|| client(&mut to_server, &secret, &mut prng(3), plan, &x_client).unwrap());
        let here =
            server(&mut to_client, &public, &mut prng(4), plan, Model { weights: &weights, bias }, &x_server).unwrap();
        (there.join().unwrap(), here)
    });
    let expected = ideal(plan, Model { weights: &weights, bias }, &add(&x_client, &x_server));
    assert!(add(&y_client, &y_server) == expected, "{:?}, {:?}", plan.spec(), plan.encoding());
    let (cost, traffic) = (plan.cost(), to_server.stats().total);
    assert_eq!((traffic.sent, traffic.received), (cost.bytes_up as u64, cost.bytes_down as u64));
}

const CUBE: LinearKind = LinearKind::conv([3; 3]);

#[test]
fn convolutions_are_exact() {
    for (kind, inputs, outputs, size) in [
        (CUBE, 1, 8, [9, 10, 11]),
        (CUBE, 5, 3, [20, 12, 17]),
        (CUBE, 40, 6, [4, 5, 4]),
        (LinearKind::conv([1; 3]), 3, 2, [17, 16, 20]),
        (LinearKind::conv([5; 3]), 2, 2, [8, 9, 10]),
        (LinearKind::conv([1, 3, 5]), 2, 3, [6, 20, 30]),
        (LinearKind::conv([1, 3, 3]), 4, 4, [1, 70, 64]),
        (CUBE, 1, 1, [1, 1, 1]),
        (LinearKind::conv([5; 3]), 3, 2, [1, 2, 9]),
        (LinearKind::conv([31, 1, 7]), 2, 3, [1, 2, 3]),
    ] {
        check(&Plan::new(&spec(kind, inputs, outputs, size)).unwrap(), Bias::None, 7);
    }
}

#[test]
fn transposed_convolutions_are_exact() {
    for (factor, size) in [([2; 3], [9, 17, 30]), ([1, 2, 2], [1, 30, 40]), ([3, 1, 2], [2, 3, 4])] {
        let plan = Plan::new(&spec(LinearKind::Transposed2 { factor }, 5, 3, size)).unwrap();
        check(&plan, Bias::Channel(&[1, u32::MAX, 1 << 31]), 8);
    }
}

#[test]
fn the_transposed_ideal_is_the_definition() {
    let plan = Plan::new(&spec(LinearKind::Transposed2 { factor: [1, 2, 2] }, 1, 2, [1, 1, 2])).unwrap();
    let model = Model { weights: &[1, 2, 3, 4, 5, 6, 7, 8], bias: Bias::Channel(&[0, 1]) };
    let y = ideal(&plan, model, &[10, 100]);
    assert_eq!(y, [10, 20, 100, 200, 30, 40, 300, 400, 51, 61, 501, 601, 71, 81, 701, 801]);
}

#[test]
fn blocks_of_tiles_and_rows_are_seamless() {
    let plan = Plan::new(&spec(CUBE, 3, 7, [30, 20, 17])).unwrap();
    assert!(plan.encoding().tiles() > 2 && plan.encoding().out_groups() > 2);
    let bias: Vec<u32> = prng(9).fill(plan.output_len());
    check(&plan.clone().with_blocks(1, 1), Bias::Map(&bias), 10);
    check(&plan.with_blocks(2, 3), Bias::Map(&bias), 11);
}

#[test]
fn several_messages_a_block_and_a_row_block() {
    // 136 ciphertexts up and 150 replies down: more than a message either way.
    let plan = Plan::new(&spec(LinearKind::conv([1; 3]), 68, 75, [2, 64, 64])).unwrap();
    assert!(plan.cost().inputs == 136);
    check(&plan.with_blocks(2, 75), Bias::None, 12);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]
    #[test]
    fn any_layer_is_exact(
        channels in [1usize..6, 1..6],
        size in [1usize..20, 1..20, 1..20],
        window in [(1usize..6, 1usize..4, 0usize..5), (1..6, 1..4, 0..5), (1..6, 1..4, 0..5)],
        blocks in [1usize..4, 1..4],
        seed: u8,
    ) {
        let (kernel, stride) = (window.map(|w| w.0), window.map(|w| w.1));
        let padding = window.map(|(k, _, p)| p.min(k - 1));
        let kind = LinearKind::Conv { kernel, stride, padding };
        // Of as many outputs as can be, the last windows hanging over the end.
        let output_size = std::array::from_fn(|d| (size[d] + padding[d]).div_ceil(stride[d]));
        let plan = Plan::new(&LinearSpec { output_size, ..spec(kind, channels[0], channels[1], size) }).unwrap();
        check(&plan.with_blocks(blocks[0], blocks[1]), Bias::None, seed);
    }
}

#[test]
fn strides_and_even_kernels_are_exact() {
    let conv = |kernel, stride, padding| LinearKind::Conv { kernel, stride, padding };
    for (kind, inputs, outputs, size) in [
        (conv([3; 3], [2; 3], [1; 3]), 4, 6, [17, 16, 21]),
        (conv([2; 3], [2; 3], [0; 3]), 5, 3, [15, 16, 9]),
        (conv([1; 3], [2; 3], [0; 3]), 5, 3, [15, 16, 9]),
        (conv([4, 2, 4], [1; 3], [1, 0, 2]), 3, 2, [8, 9, 10]),
        (conv([1, 7, 7], [1, 2, 2], [0, 3, 3]), 1, 8, [1, 61, 64]),
        (conv([1, 16, 16], [1, 16, 16], [0; 3]), 1, 4, [1, 64, 50]),
        (conv([5; 3], [3, 1, 2], [4, 0, 2]), 2, 2, [8, 9, 10]),
        (conv([3; 3], [2; 3], [1; 3]), 40, 12, [1, 1, 1]),
    ] {
        check(&Plan::new(&spec(kind, inputs, outputs, size)).unwrap(), Bias::None, 13);
    }
}

#[test]
fn runs_with_the_same_seeds_are_the_same() {
    let plan = Plan::new(&spec(CUBE, 2, 2, [5, 6, 7])).unwrap();
    let run = || {
        let (secret, public) = key(plan.params());
        let (weights, x_client, x_server) = model(&plan, 5);
        let (mut to_server, mut to_client) = local_pair();
        to_server.record_transcript();
        to_client.record_transcript();
        std::thread::scope(|scope| {
            scope.spawn(|| client(&mut to_server, &secret, &mut prng(3), &plan, &x_client).unwrap());
            let model = Model { weights: &weights, bias: Bias::None };
            server(&mut to_client, &public, &mut prng(4), &plan, model, &x_server).unwrap();
        });
        (to_server.transcript_digest(), to_client.transcript_digest())
    };
    assert_eq!(run(), run());
}

#[test]
fn a_model_that_is_not_as_planned_is_refused() {
    let plan = Plan::new(&spec(CUBE, 1, 2, [4; 3])).unwrap();
    let (_, public) = key(plan.params());
    let refused = |weights: &[i32], bias: Bias<'_>, x: &[u32]| {
        let (_to_server, mut to_client) = local_pair();
        let error = server(&mut to_client, &public, &mut prng(4), &plan, Model { weights, bias }, x).unwrap_err();
        assert!(matches!(&error, Error::Model(what) if what.contains("dec.1.0")), "{error}");
    };
    refused(&[0; 53], Bias::None, &[0; 64]);
    refused(&[2049; 54], Bias::None, &[0; 64]);
    refused(&[-2049; 54], Bias::None, &[0; 64]);
    refused(&[1; 54], Bias::Channel(&[0; 3]), &[0; 64]);
    refused(&[1; 54], Bias::Map(&[0; 64]), &[0; 64]);
    refused(&[1; 54], Bias::None, &[0; 65]);
}

#[test]
fn hostile_messages_are_errors() {
    let plan = Plan::new(&spec(CUBE, 1, 1, [4; 3])).unwrap();
    let (secret, public) = key(plan.params());
    let up = plan.cost().bytes_up;
    for message in [vec![], vec![0; up - 1], vec![0; up + 1], vec![0xff; up]] {
        let (mut to_server, mut to_client) = local_pair();
        to_server.send(message).unwrap();
        let x = [0; 64];
        let model = Model { weights: &[1; 27], bias: Bias::None };
        let error = server(&mut to_client, &public, &mut prng(4), &plan, model, &x).unwrap_err();
        assert!(matches!(error, Error::Protocol(_) | Error::Engine(_)), "{error}");
    }
    let down = plan.cost().bytes_down;
    let mut c1_high = vec![0; down];
    c1_high[..25_600].fill(0xff);
    let mut c0_high = vec![0; down];
    c0_high[25_600..].fill(0xff);
    for message in [vec![], vec![0; down - 1], vec![0; down + 1], c1_high, c0_high] {
        let (mut to_server, mut to_client) = local_pair();
        to_client.send(message).unwrap();
        let error = client(&mut to_server, &secret, &mut prng(3), &plan, &[0; 64]).unwrap_err();
        assert!(matches!(error, Error::Protocol(_) | Error::Engine(_)), "{error}");
    }
}

// What the client sees of the weights.

/// Parameters at which the noise of products can be seen in a reply: dropping a prime of 14 bits instead of 50 leaves
/// some units of it. Nothing else differs from the real ones.
fn leaky_plan() -> Plan {
    let params = Params::insecure_for_tests(1024, &[DEFAULT_60[0], 12_289], 1 << 32).unwrap();
    let spec = spec(CUBE, 8, 16, [8; 3]);
    let geometry = Geometry::conv(&ConvShape::same(8, 16, [8; 3], [3; 3])).unwrap();
    let encoding = Encoding::new(1024, geometry, [8; 3], 1, 1).unwrap();
    // The budget plays no part: the server below is told how to flood.
    let budget = Budget { flood_bits: 16, need_bits: 0.0, have_bits: 0.0, distance_bits: 0.0 };
    Plan::of(&spec, &params, encoding, budget)
}

/// The noise that the client finds at the outputs of all replies, for weights of magnitude `weight` and random signs
/// (so that the noise of neighbours is uncorrelated).
fn reply_noise(plan: &Plan, weight: i32, flood_bits: Option<u32>, seed: u8) -> Vec<f64> {
    let (secret, public) = key(plan.params());
    let (weights, x_client, x_server) = model(plan, seed);
    let (mut to_server, mut to_client) = local_pair();
    let weights: Vec<i32> = weights.iter().map(|&w| if w < 0 { -weight } else { weight }).collect();
    let mut noise = Vec::new();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let replier = Replier { key: &public, prng: &mut prng(seed), how: ReplyParams { flood_bits } };
            answer(&mut to_client, replier, plan, Model { weights: &weights, bias: Bias::None }, &x_server).unwrap()
        });
        let (tiles, prng) = (plan.tile_blocks()[0].clone(), &mut prng(!seed));
        Upload::new(plan, &secret, prng, tiles.clone()).send_until(&mut to_server, prng, &x_client, 1, 1).unwrap();
        for rows in plan.row_blocks() {
            let replies = Replies::new(plan, &tiles, &rows).unwrap();
            for message in messages(replies.bytes.iter().copied()) {
                let bytes = to_server.recv().unwrap();
                let (packed, places) = (replies.split(&message, &bytes), replies.layout.part(message));
                let (basis, n, places) = (secret.reply_basis(), plan.params().n(), places.places());
                let bits = basis.modulus(0).bits();
                let (mut c0, mut c1) = (vec![0; packed.len() * n], vec![0; packed.len() * n]);
                for (i, (c0, c1)) in c0.chunks_exact_mut(n).zip(c1.chunks_exact_mut(n)).enumerate() {
                    let (whole, used) = packed[i].split_at(wire::packed_len(n, bits));
                    wire::unpack_into(whole, bits, c1);
                    places.put(i, &wire::unpack(used, bits, places.count(i)).unwrap(), c0);
                }
                let upload = |half: &[u64]| PolyBatch::upload(secret.device(), basis, half).unwrap();
                let messages = secret.decrypt(upload(&c0), upload(&c1)).unwrap();
                let all = secret.noise(&upload(&c0), upload(&c1), &messages).unwrap();
                for (i, poly) in all.chunks_exact(n).enumerate() {
                    let mut picked = vec![0; places.count(i)];
                    places.pick(i, poly, &mut picked);
                    noise.extend(picked.iter().map(|&e| e as f64));
                }
            }
        }
    });
    noise
}

/// The largest distance of the two empirical distributions, in units in which 1.95 is exceeded once in a thousand
/// times when the distributions are equal (Kolmogorov and Smirnov).
fn distance(mut a: Vec<f64>, mut b: Vec<f64>) -> f64 {
    a.sort_by(f64::total_cmp);
    b.sort_by(f64::total_cmp);
    let (na, nb) = (a.len() as f64, b.len() as f64);
    let below = |sorted: &[f64], x: f64| sorted.partition_point(|v| *v <= x) as f64;
    let gaps = a.iter().chain(&b).map(|&x| (below(&a, x) / na - below(&b, x) / nb).abs());
    gaps.fold(0.0, f64::max) * (na * nb / (na + nb)).sqrt()
}

#[test]
fn the_noise_of_replies_tells_of_the_weights_only_without_flooding() {
    let plan = leaky_plan();
    let seen = |flood_bits| distance(reply_noise(&plan, 0, flood_bits, 20), reply_noise(&plan, 2047, flood_bits, 21));
    let (bare, flooded) = (seen(None), seen(Some(16)));
    assert!(bare > 4.0, "two weight sets can be told apart without flooding: {bare}");
    assert!(flooded < 1.95, "flooding hides which weight set it was: {flooded}");
    // Equal weight sets can't be told apart in either case: the statistic itself is sound.
    let same = distance(reply_noise(&plan, 2047, None, 22), reply_noise(&plan, 2047, None, 23));
    assert!(same < 1.95, "{same}");
}

#[test]
fn real_parameters_leave_less_than_a_unit_of_the_products_noise() {
    let plan = Plan::new(&spec(CUBE, 512, 512, [8; 3])).unwrap();
    let norm = factor_norm(plan.encoding().geometry(), 12, plan.encoding().out_pack());
    let dropped = plan.params().basis().modulus(1).value() as f64;
    assert!((product_bound(norm) / dropped).log2() < -25.0);
}

/// At n = 128 a prime of 12 to 18 bits can be dropped, which leaves noise of the products of 7 to 1/11 of its deviation
/// in a reply.
fn plan_that_drops(prime: u64) -> Plan {
    let params = Params::insecure_for_tests(128, &[DEFAULT_60[0], prime], 1 << 32).unwrap();
    let kind = LinearKind::conv([1, 1, 3]);
    let geometry = Geometry::conv(&ConvShape::same(8, 1024, [1, 1, 64], [1, 1, 3])).unwrap();
    let encoding = Encoding::new(128, geometry, [1, 1, 64], 1, 1).unwrap();
    let budget = Budget { flood_bits: 16, need_bits: 0.0, have_bits: 0.0, distance_bits: 0.0 };
    Plan::of(&spec(kind, 8, 1024, [1, 1, 64]), &params, encoding, budget)
}

/// The statistical distance of two histograms of noise.
fn histograms(a: &[f64], b: &[f64]) -> f64 {
    let mut counts = std::collections::BTreeMap::<i64, [f64; 2]>::new();
    a.iter().for_each(|&x| counts.entry(x as i64).or_default()[0] += 1.0 / a.len() as f64);
    b.iter().for_each(|&x| counts.entry(x as i64).or_default()[1] += 1.0 / b.len() as f64);
    counts.values().map(|[a, b]| (a - b).abs()).sum::<f64>() / 2.0
}

/// The statistical distance of two centred normal distributions on the integers.
fn normals(sigma: [f64; 2]) -> f64 {
    let density = |x: i32, s: f64| (-f64::from(x).powi(2) / (2.0 * s * s)).exp() / (s * std::f64::consts::TAU.sqrt());
    let reach = (8.0 * sigma[0].max(sigma[1])) as i32;
    (-reach..=reach).map(|x| (density(x, sigma[0]) - density(x, sigma[1])).abs()).sum::<f64>() / 2.0
}

/// What the client can see without knowing the direction: replies for weights of zero and for the largest have noise of
/// two normal distributions, closer the larger the dropped prime is; the distance of their histograms is that of these,
/// to within sampling error.
#[test]
fn weights_of_zero_and_the_largest_differ_by_the_formula_for_each_dropped_prime() {
    let mut last = f64::INFINITY;
    for (i, prime) in [3329, 15_361, 64_513, 260_609].into_iter().enumerate() {
        let plan = plan_that_drops(prime);
        let noise = |weight, seed| reply_noise(&plan, weight, None, seed);
        let [none, most, again] = [noise(0, 40), noise(2047, 41), noise(0, 42)];
        assert_eq!(none.len(), 1 << 16, "64 outputs of 1024 channels");
        let (norm, n) = (2047.0 * 24f64.sqrt(), 128.0);
        // The noise of rounding the mask's and the ciphertext's halves, and of the weights' products, each by its
        // definition.
        let rounding = ((1.0 + 2.0 / 3.0 * n) / 12.0f64).sqrt();
        let product = product_bound(norm) / blindvox_engine::bfv::noise::DEVIATIONS / prime as f64;
        let expected = normals([rounding, rounding.hypot(product)]);
        let (found, floor) = (histograms(&none, &most), histograms(&none, &again));
        assert!((found - expected).abs() < 2.0 * floor + 0.05 * expected, "{prime}: {found}, {expected}, {floor}");
        assert!(found < last, "{prime}: {found} after {last}");
        assert!(i > 1 || found > 5.0 * floor, "{prime}: {found} is seen above {floor}");
        last = found;
        // Flooding of as many bits as the noise has hides even the largest of them.
        let flooded = [0, 2047].map(|w| reply_noise(&plan, w, Some(12), 43));
        assert!(distance(flooded[0].clone(), flooded[1].clone()) < 1.95, "{prime}");
    }
}
