//! Does timing depend on secrets? Each function runs on inputs of two classes in random order, fixed ones and random
//! ones; Welch's t-test says whether their times have different means (Reparaz, Balasch, Verbauwhede: "Dude, is my code
//! constant time?", 2017).
//!
//!     cargo run --release -p blindvox-protocols --example dudect -- [RUNS]
//!
//! Prints a table in Markdown: t of all times and of the fastest 90, 75 and 50 % of them, which see less of what else
//! the machine does.
//! |t| above 4.5 is suspicious and above 10 clear, where it stays when the run is repeated. Times of a busy machine vary more, which
//! hides differences and makes none. RUNS (20 000 if left out) is for functions of microseconds; longer ones run less
//! often.

mod measure;

use blindvox_engine::bfv::{Decoder, Encoder};
use blindvox_engine::bfv::{Params, SecretKey};
use blindvox_engine::bigint::{self, Exponents};
use blindvox_engine::garble::{
    AndInputs, Garbled, GateHash, GateKey, GateKeys, add_selected, evaluate_with, garble_with,
};
use blindvox_engine::ring::primes::DEFAULT_50;
use blindvox_engine::ring::{Basis, sampler};
use blindvox_engine::rlwe::Ciphertexts;
use blindvox_engine::testing::{self, Body};
use blindvox_engine::{Coeff, GemmShape, Ntt, PolyBatch, Prng, aes};
use blindvox_net::channel::{Party, local_pair};
use blindvox_protocols::convert::convert;
use blindvox_protocols::nonlinear::{Comparison, Nonlinear};
use blindvox_protocols::peer::Peer;
use blindvox_protocols::select::select;
use blindvox_protocols::share::{BitShares, P, Ring, Shares};
use measure::Timer;

const N: usize = 4096;

fn main() {
    let runs = std::env::args().nth(1).map_or(20_000, |n| n.parse().expect("a number of runs"));
    let mut timer = Timer::new(runs);
    // One thread: what others do is no part of it.
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("a thread");
    pool.install(|| {
        words(&mut timer);
        for body in Body::available() {
            polynomials(&mut timer, body);
        }
        bigint::Body::available().into_iter().for_each(|body| integers(&mut timer, body));
        gates(&mut timer);
        protocols(&mut timer);
    });
}

/// `count` vectors of each class: the fixed value, and random ones.
fn classes<T: Copy>(count: usize, fixed: Vec<T>, mut random: impl FnMut() -> Vec<T>) -> [Vec<Vec<T>>; 2] {
    [vec![fixed; count], (0..count).map(|_| random()).collect()]
}

/// Decoding of phases and encoding of messages; their loops are compiled for the widest registers there are.
fn words(timer: &mut Timer) {
    let mut prng = Prng::from_os().expect("randomness");
    let basis = Basis::new(N, &DEFAULT_50[..2]).expect("a basis");
    let q = basis.modulus(0);
    for plain in [1 << 32, u64::from(P)] {
        let (decoder, encoder) = (Decoder::new(q, plain).expect("a decoder"), Encoder::new(&basis, plain));
        let phases = classes(16, vec![3; N], || prng.fill::<u64>(N).iter().map(|&x| q.reduce(x)).collect());
        let mut out = vec![0; N];
        timer.words(&format!("decode mod {plain}"), "-", 1, &phases, |phases| {
            out.iter_mut().zip(phases).for_each(|(m, &x)| *m = decoder.decode(x));
            out[0]
        });
        let messages = classes(16, vec![0; N], || {
            prng.fill::<u32>(N).iter().map(|&x| (u64::from(x) % plain) as u32).collect::<Vec<u32>>()
        });
        let mut signed = vec![0; N];
        timer.words(&format!("encode mod {plain}"), "-", 1, &messages, |m| {
            encoder.fill_signed(m, &mut signed);
            signed[0]
        });
    }
}

/// Transforms and products of weights, and decryption, by one body.
fn polynomials(timer: &mut Timer, body: Body) {
    let (mut prng, name) = (Prng::from_os().expect("randomness"), format!("{body:?}"));
    let device = testing::cpu_with_body(body).expect("a body that runs here");
    let params = Params::hom_conv();
    let basis = params.basis();
    let lift = |w: &[i32]| PolyBatch::<Coeff>::lift(&device, basis, w, &[1, 1]).expect("a batch");
    let ntt = |w: &[i32]| lift(w).into_ntt().expect("points");
    let weights = classes(4, vec![0; 8 * N], || prng.fill::<i32>(8 * N).iter().map(|w| w >> 20).collect());
    timer.words("lift and transform weights", &name, 10, &weights, ntt);

    let key = SecretKey::generate(&params, &device, &mut prng).expect("a key");
    let messages: Vec<u32> = prng.fill(4 * N);
    let fresh = key.encrypt_seeded(&messages, &mut prng).expect("ciphertexts");
    let Ciphertexts { c0, c1 } = fresh.expand().expect("ciphertexts");
    let points = weights.each_ref().map(|class| class.iter().map(|w| ntt(w)).collect::<Vec<PolyBatch<Ntt>>>());
    let size = GemmShape { rows: 2, inner: 4, cols: 1 };
    timer.run("products with weights", &name, 10, &points, |w| w.gemm([&c0, &c1], size).expect("products"));
    let constants = classes(4, vec![0; 32], || prng.fill::<i32>(32).iter().map(|w| w >> 20).collect());
    let size = GemmShape { rows: 8, inner: 4, cols: 1 };
    let by_constants = |w: &[i32]| PolyBatch::gemm_constants(w, [&c0, &c1], size).expect("products");
    timer.words("products with constants", &name, 10, &constants, by_constants);

    // Replies to a message of zero and to random ones under one key.
    let reply = key.reply_basis();
    let q = reply.modulus(0);
    let c1: Vec<u64> = prng.fill::<u64>(N).iter().map(|&x| q.reduce(x)).collect();
    let upload = |half: &[u64]| PolyBatch::<Coeff>::upload(&device, reply, half).expect("residues");
    let points = upload(&c1).into_ntt().expect("points");
    let product = key.rlwe().times_secret(points).expect("a product");
    let product = product.download().expect("residues");
    let mut halves = |fixed: bool| {
        let phase: Vec<u64> = prng.fill::<u64>(N).iter().map(|&x| if fixed { 3 } else { q.reduce(x) }).collect();
        phase.iter().zip(&product).map(|(&phase, &p)| q.sub(phase, p)).collect::<Vec<u64>>()
    };
    let c0 = [true, false].map(|fixed| (0..16).map(|_| halves(fixed)).collect::<Vec<_>>());
    timer.words("decrypt", &name, 10, &c0, |c0| key.decrypt(upload(c0), upload(&c1)).expect("messages"));

    let secret = classes(8, vec![0; N], || sampler::ternary(&mut Prng::from_os().expect("randomness"), N));
    timer.words("transform a secret key", &name, 10, &secret, ntt);
}

/// Powers modulo n^2 of secret exponents, and encryption of secret numbers, n of 512 bits.
fn integers(timer: &mut Timer, body: bigint::Body) {
    let (mut prng, name) = (Prng::from_os().expect("randomness"), format!("{body:?}"));
    let mut n = prng.fill::<u64>(8);
    (n[0], n[7]) = (n[0] | 1, n[7] | 1 << 63);
    let ring = bigint::Ring::with_body(&n, body).expect("a modulus");
    let mut x = prng.fill::<u64>(16 * 8);
    x.chunks_exact_mut(16).for_each(|x| x[15] >>= 3);
    let exponents = classes(16, vec![0; 4], || prng.fill::<u64>(4));
    timer.words("power modulo n^2", &name, 20, &exponents, |e| ring.power(&x, &Exponents { limbs: e, bits: 256 })[0]);
    let table = ring.fixed_base(&x[..16], 256);
    // Each number's exponent, then its message below n.
    let secrets = classes(16, vec![0; 8 * 12], || {
        let mut all = prng.fill::<u64>(8 * 12);
        all[8 * 4..].chunks_exact_mut(8).for_each(|m| m[7] >>= 1);
        all
    });
    timer.words("(1 + m n) base^e", &name, 20, &secrets, |secrets| {
        let (limbs, messages) = secrets.split_at(8 * 4);
        ring.blind(&table, &Exponents { limbs, bits: 256 }, messages)[0]
    });
}

/// An AND of a wire with itself.
fn inputs<'a>(wire: &'a [u128], none: &'a [u128]) -> AndInputs<'a> {
    AndInputs { a: [wire, none], b: [wire, none], sum: none }
}

/// Gates of 256 instances, and the selection of labels.
fn gates(timer: &mut Timer) {
    let mut prng = Prng::from_os().expect("randomness");
    let (none, delta) = (vec![0; 256], prng.fill::<u128>(1)[0] | 1);
    let labels = classes(8, vec![0; 256], || prng.fill::<u128>(256));
    let (mut out, mut table) = (vec![0; 256], vec![[0; 16]; 512]);
    let keys = [7, 9].map(aes::Aes128::new);
    for body in aes::Body::available() {
        let name = format!("AES, {body:?}");
        timer.words("garble an AND", &name, 1, &labels, |w| {
            garble_with(
                body,
                &keys,
                delta,
                inputs(w, &none),
                [false; 2],
                Garbled { labels: &mut out, table: &mut table },
            );
            out[0]
        });
        timer.words("evaluate an AND", &name, 1, &labels, |w| {
            evaluate_with(body, &keys, inputs(w, &none), &table, &[], &mut out);
            out[0]
        });
    }
    let mut keys = GateKeys::new(GateHash::ChaCha12, &[7; 32], "timing");
    keys.next_gates(1);
    timer.words("garble an AND", "ChaCha12", 1, &labels, |w| {
        keys.garble_and(0, delta, inputs(w, &none), [false; 2], Garbled { labels: &mut out, table: &mut table });
        out[0]
    });
    timer.words("evaluate an AND", "ChaCha12", 1, &labels, |w| {
        keys.evaluate_and(0, inputs(w, &none), &table, &[], &mut out);
        out[0]
    });
    let key = aes::Aes128::new(7);
    timer.words("hash labels", "AES", 1, &labels, |w| {
        GateKey::hash(&key, w, delta, &mut out);
        out[0]
    });
    // A level of a half tree by the place of the node that is lacking.
    let places = classes(16, vec![3], || vec![prng.fill::<u64>(1)[0] % 256]);
    let mut nodes = prng.fill::<u128>(256);
    timer.words("level of a half tree", "AES", 1, &places, |place| {
        let mends = [aes::Mend { at: place[0] as usize, add: delta }, aes::Mend::default()];
        key.half_tree_level(&mut nodes, &mut out, &mends, !0)
    });
    timer.words("mend two leaves", "-", 1, &places, |place| {
        let mends = [aes::Mend { at: place[0] as usize, add: delta }, aes::Mend::default()];
        aes::mend(&mut nodes, &mends);
        nodes[0]
    });
    let bits = classes(8, vec![0; 2], || prng.fill::<u128>(2));
    timer.words("add Delta where a bit says so", "-", 1, &bits, |bits| {
        add_selected(&mut out, bits, delta);
        out[0]
    });
}

/// Both halves of conversion and selection, timed as one: what the parties compute on secret shares, and their OTs.
fn protocols(timer: &mut Timer) {
    let mut prng = Prng::from_os().expect("randomness");
    let (client, server) = local_pair();
    let peer = |party, channel| Peer::setup(party, channel, Prng::from_os().expect("randomness")).expect("OTs");
    let (mut client, mut server) = std::thread::scope(|scope| {
        let server = scope.spawn(|| peer(Party::Server, server));
        (peer(Party::Client, client), server.join().expect("no panic"))
    });
    let mut both = |half: &(dyn Fn(&mut Peer) -> Shares + Sync)| {
        std::thread::scope(|scope| {
            let there = scope.spawn(|| half(&mut server));
            let here = half(&mut client);
            here[0].wrapping_add(there.join().expect("no panic")[0])
        })
    };
    let values = classes(8, vec![0; N], || prng.fill::<u32>(N));
    for ring in [Ring::FULL, Ring::Prime(P)] {
        timer.words("convert 24 bits", &ring.to_string(), 10, &values, |x| {
            both(&|peer| convert(peer, x.into(), 24, ring).expect("shares"))
        });
        timer.words("select", &ring.to_string(), 10, &values, |x| {
            let bits = BitShares::from(x.iter().map(|x| (x >> 7) as u8 & 1).collect::<Vec<_>>());
            let x: Vec<u32> = x.iter().map(|x| x % P).collect();
            both(&|peer| select(peer, &bits, &x, ring).expect("shares"))
        });
    }
    timer.words("ReLU by transfers", "16 bits", 10, &values, |x| {
        let x: Vec<u32> = x.iter().map(|x| x & 0xffff).collect();
        both(&|peer| Nonlinear::new(Comparison::Transfers).relu(peer, &x, Ring::Pow2(16)).expect("shares"))
    });
}
