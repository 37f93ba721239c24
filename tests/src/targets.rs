//! What reads bytes of a peer or a file, as plain functions of the bytes: one list, driven over its seeds and their
//! mutations by an ordinary test and at length by `cargo fuzz` (`fuzz/` beside the workspace).
//!
//! A target may refuse its bytes. It may not panic, hang, or take memory that the bytes don't pay for.

mod federated;
mod service;

use std::path::Path;
use std::sync::{Arc, OnceLock};

use blindvox_engine::bfv::levelled;
use blindvox_engine::bfv::{Params, PublicKey, SecretKey};
use blindvox_engine::ckks;
use blindvox_engine::rlwe::{EvalKeys, SeededCiphertexts};
use blindvox_engine::{Device, Prng};
use blindvox_models::data::nifti::{Header, Volume};
use blindvox_models::format::bundle::{MODEL_FILE, WEIGHTS_FILE};
use blindvox_models::format::onnx::{Options as Import, import};
use blindvox_models::{Bundle, Program, testing};
use blindvox_net::local_pair;
use blindvox_net::transport::frame::{self, Frame};
use blindvox_protocols::Error;
use blindvox_protocols::gc::{arithmetic, bristol};
use blindvox_protocols::infer::session::plans;
use blindvox_protocols::infer::shares::public;
use blindvox_protocols::infer::{Options, Role, Session};

/// One reader.
pub struct Target {
    /// The name of its folder in `fuzz/corpus` and of its program in `fuzz/fuzz_targets`.
    pub name: &'static str,
    /// Reads; whether the bytes got past the first check.
    pub run: fn(&[u8]) -> bool,
    /// Bytes that are read as they should be.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// Every reader.
pub static TARGETS: [Target; 11] = [
    Target { name: "frames", run: frames, seeds: framed },
    Target { name: "hello", run: hello, seeds: hellos },
    Target { name: "service", run: service::service, seeds: service::messages },
    Target { name: "architecture", run: architectures, seeds: encoded_architectures },
    Target { name: "ciphertexts", run: ciphertexts, seeds: keys_and_ciphertexts },
    Target { name: "evaluation", run: evaluation, seeds: keys_and_vectors },
    Target { name: "nifti", run: nifti, seeds: volumes },
    Target { name: "bundle", run: bundle, seeds: bundles },
    Target { name: "onnx", run: onnx, seeds: exports },
    Target { name: "federated", run: federated::run, seeds: federated::seeds },
    Target { name: "bristol", run: circuits, seeds: written_circuits },
];

/// The target of this name.
///
/// # Panics
/// Where there is none.
pub fn target(name: &str) -> &'static Target {
    TARGETS.iter().find(|target| target.name == name).expect("a target of the list")
}

// A stream of frames.

fn frames(mut bytes: &[u8]) -> bool {
    let all = bytes.len();
    let mut read = 0;
    while let Ok(frame) = frame::read_frame(&mut bytes) {
        let Frame::Message(message) = frame else { continue };
        assert!(message.bytes.len() < all);
        read += 1;
    }
    read > 0
}

fn framed() -> Vec<Vec<u8>> {
    let frame =
        |number: u32, bytes: &[u8]| [&(bytes.len() as u32).to_le_bytes()[..], &number.to_le_bytes(), bytes].concat();
    vec![frame(0, b"one message"), [frame(0, &[1; 300]), frame(1, &[]), frame(2, &[7; 3])].concat()]
}

// A hello.

fn tiny() -> &'static Arc<Program> {
    static TINY: OnceLock<Arc<Program>> = OnceLock::new();
    TINY.get_or_init(|| Arc::new(testing::tiny().program().0))
}

/// A service that gets these bytes for a hello, and then nothing more.
fn hello(bytes: &[u8]) -> bool {
    let (mut client, server) = local_pair();
    client.send(bytes[..bytes.len().min(1 << 16)].to_vec()).expect("room");
    let prng = Prng::from_seed_for_tests([1; 32]);
    drop(client);
    let result = Session::setup(Role::Server(tiny().clone()), server, prng, Options::new(Device::cpu()));
    // The hello passed if it is the key after it that is missed.
    matches!(result, Err(Error::Connection(_)))
}

fn hellos() -> Vec<Vec<u8>> {
    let (client, mut server) = local_pair();
    let setup = std::thread::spawn(move || {
        let prng = Prng::from_seed_for_tests([1; 32]);
        Session::setup(Role::Client, client, prng, Options::new(Device::cpu())).is_err()
    });
    let hello = server.recv().expect("the client's hello");
    drop(server);
    assert!(setup.join().expect("no panic"), "nobody answered");
    vec![hello]
}

// A network without its weights, and what it asks to be planned.

fn architectures(bytes: &[u8]) -> bool {
    match public::decode(bytes).map(|program| plans(&program)) {
        Ok(Ok(_)) => true,
        // Decoded, and refused by the layer's name: it doesn't fit, or the search for its plan is bounded.
        Ok(Err(Error::Model(what))) if what.starts_with("layer ") => true,
        Err(Error::Protocol(what)) if what.contains("architecture") => false,
        Ok(Err(error)) | Err(error) => panic!("an error about something else: {error}"),
    }
}

fn encoded_architectures() -> Vec<Vec<u8>> {
    vec![public::encode(&tiny().public_view()).expect("encodes")]
}

// Public keys and ciphertexts: the first byte says which, the second the parameters.

fn params(which: u8) -> &'static Params {
    static PARAMS: OnceLock<[Params; 2]> = OnceLock::new();
    &PARAMS.get_or_init(|| [Params::hom_conv(), Params::square_pairs()])[usize::from(which & 1)]
}

fn ciphertexts(bytes: &[u8]) -> bool {
    let [kind, which, bytes @ ..] = bytes else { return false };
    let (params, device) = (params(*which), Device::cpu());
    match kind & 1 {
        0 => PublicKey::from_bytes(params, &device, bytes).is_ok(),
        _ => SeededCiphertexts::from_bytes(params, &device, 1, bytes).is_ok(),
    }
}

fn keys_and_ciphertexts() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for which in 0..2u8 {
        let (params, mut prng) = (params(which), Prng::from_seed_for_tests([9; 32]));
        let key = SecretKey::generate(params, &Device::cpu(), &mut prng).expect("a key");
        let ciphertext = key.encrypt_seeded(&vec![3; params.n()], &mut prng).expect("a ciphertext");
        seeds.push([&[0, which], &key.public_key(&mut prng).expect("a key").to_bytes()[..]].concat());
        seeds.push([&[1, which], &ciphertext.to_bytes().expect("bytes")[..]].concat());
    }
    seeds
}

// Keys, ciphertexts and maps of CKKS and BFV, small ones: the first byte says which.

struct Schemes {
    ckks: ckks::Params,
    bfv: levelled::Params,
}

fn schemes() -> &'static Schemes {
    static SCHEMES: OnceLock<Schemes> = OnceLock::new();
    SCHEMES.get_or_init(|| {
        let ckks = ckks::Params::builder(64).chain(50, &[40]).special(&[50]).scale(40).bound(1.0);
        let bfv = levelled::Params::insecure_for_tests(64, &[50, 50], &[50], 1, 257);
        Schemes { ckks: ckks.insecure_for_tests().expect("parameters"), bfv: bfv.expect("parameters") }
    })
}

fn evaluation(bytes: &[u8]) -> bool {
    let [kind, bytes @ ..] = bytes else { return false };
    let (Schemes { ckks: params, bfv }, device) = (schemes(), &Device::cpu());
    match kind % 11 {
        0 => ckks::Ciphertext::from_bytes(params, device, bytes).is_ok(),
        1 => ckks::Seeded::from_bytes(params, bytes).is_ok_and(|x| x.expand(params, device).is_ok()),
        2 => EvalKeys::from_bytes(params, device, bytes).is_ok(),
        3 => ckks::PublicKey::from_bytes(params, device, bytes).is_ok(),
        4 => ckks::SecretKey::from_secret_bytes(params, device, bytes).is_ok(),
        5 => ckks::LinearMap::from_bytes(bytes).is_ok(),
        6 => ckks::Params::from_bytes(bytes).is_ok(),
        7 => levelled::Ciphertext::from_bytes(bfv, device, bytes).is_ok(),
        8 => levelled::Seeded::from_bytes(bfv, bytes).is_ok_and(|x| x.expand(bfv, device).is_ok()),
        9 => levelled::SecretKey::from_secret_bytes(bfv, device, bytes).is_ok(),
        _ => levelled::PublicKey::from_bytes(bfv, device, bytes).is_ok(),
    }
}

fn keys_and_vectors() -> Vec<Vec<u8>> {
    let (Schemes { ckks: params, bfv }, device) = (schemes(), Device::cpu());
    let (mut prng, mut seeds) = (Prng::from_seed_for_tests([9; 32]), Vec::new());
    let mut seed = |kind: u8, bytes: &[u8]| seeds.push([&[kind], bytes].concat());
    let key = ckks::SecretKey::generate(params, &device, &mut prng).expect("a key");
    let text = ckks::Encoder::new(params).real(&[0.5, -1.0], params.scale()).expect("a text");
    let x = key.encrypt_seeded(&text, &mut prng).expect("a ciphertext");
    seed(0, &x.expand(params, &device).and_then(|x| x.to_bytes(params)).expect("bytes"));
    seed(1, &x.to_bytes(params));
    let map = ckks::LinearMap::from_matrix(2, &[0.5, 1.0, -1.0, 0.25]).expect("a map");
    let request = map.rotations().request(params, 2).relinearisation(1);
    seed(2, &key.eval_keys(&request, &mut prng).and_then(|keys| keys.to_bytes()).expect("bytes"));
    seed(3, &key.public_key(&mut prng).expect("a key").to_bytes());
    seed(4, &key.to_secret_bytes(&ckks::Queries::new(5)));
    seed(5, &map.to_bytes());
    seed(6, &ckks::Params::cnn_small().to_bytes());
    let key = levelled::SecretKey::generate(bfv, &device, &mut prng).expect("a key");
    let text = levelled::BatchEncoder::new(bfv).and_then(|encoder| encoder.encode(&[1, 2, 3])).expect("a text");
    let x = key.encrypt_seeded(&text, &mut prng).expect("a ciphertext");
    seed(7, &x.expand(bfv, &device).and_then(|x| x.to_bytes(bfv)).expect("bytes"));
    seed(8, &x.to_bytes(bfv));
    seed(9, &key.to_secret_bytes());
    seed(10, &key.public_key(&mut prng).expect("a key").to_bytes());
    seeds
}

// Files, by way of a folder of this process alone.

fn folder() -> &'static Path {
    static FOLDER: OnceLock<tempfile::TempDir> = OnceLock::new();
    // In memory where there is such a place: a million small files are otherwise all that a run waits for.
    let make = || tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a folder");
    FOLDER.get_or_init(make).path()
}

fn nifti(bytes: &[u8]) -> bool {
    let path = folder().join(format!("{:?}.nii", std::thread::current().id()));
    std::fs::write(&path, bytes).expect("room");
    Volume::load(&path).is_ok()
}

fn volumes() -> Vec<Vec<u8>> {
    let path = folder().join("seed.nii");
    let volume =
        Volume { dims: [2, 3, 4], data: (0..24u8).map(f64::from).collect(), header: Header::new([2, 3, 4], 1.0) };
    volume.save(&path).expect("room");
    vec![std::fs::read(&path).expect("a file")]
}

/// The length of `model.json` in four bytes, that file, and the rest as weights.
fn bundle(bytes: &[u8]) -> bool {
    let Some((length, rest)) = bytes.split_first_chunk() else { return false };
    let (json, weights) = rest.split_at((u32::from_le_bytes(*length) as usize).min(rest.len()));
    let folder = folder().join(format!("{:?}", std::thread::current().id()));
    std::fs::create_dir_all(&folder).expect("room");
    std::fs::write(folder.join(MODEL_FILE), json).expect("room");
    std::fs::write(folder.join(WEIGHTS_FILE), weights).expect("room");
    Bundle::load(&folder).is_ok()
}

fn bundles() -> Vec<Vec<u8>> {
    let written = testing::tiny();
    written.calibrate();
    let [json, weights] =
        [MODEL_FILE, WEIGHTS_FILE].map(|f| std::fs::read(written.directory.path().join(f)).expect("a file"));
    vec![[&(json.len() as u32).to_le_bytes()[..], &json, &weights].concat()]
}

fn onnx(bytes: &[u8]) -> bool {
    let path = folder().join(format!("{:?}.onnx", std::thread::current().id()));
    std::fs::write(&path, bytes).expect("room");
    import(&path, &Import { fold: true, ..Import::default() }).is_ok()
}

fn exports() -> Vec<Vec<u8>> {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/tests/onnx");
    ["odd_script.onnx", "odd.onnx"].map(|name| std::fs::read(fixtures.join(name)).expect("a fixture")).into()
}

// Circuits in text.

fn circuits(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_ok_and(|text| bristol::read(text).is_ok())
}

fn written_circuits() -> Vec<Vec<u8>> {
    vec![bristol::write(&arithmetic::sign(4)).into_bytes(), bristol::write(&arithmetic::relu(3)).into_bytes()]
}
