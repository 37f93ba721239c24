//! Bytes of a hostile peer that a party decodes: a network, keys, ciphertexts. What can't be is refused by name, before
//! anything large is planned or allocated.

use std::sync::{Arc, OnceLock};
use std::thread;

use blindvox_engine::bfv::{Params, PublicKey, SecretKey};
use blindvox_engine::rlwe::SeededCiphertexts;
use blindvox_engine::{Device, Prng};
use blindvox_models::testing as common;
use blindvox_models::{LinearKind, Program, Step};
use blindvox_net::channel::local_pair;
use blindvox_protocols::infer::shares::public;
use blindvox_protocols::infer::{Options, Role, Session};
use blindvox_protocols::{Error, Result};
use proptest::prelude::*;

fn network() -> &'static Arc<Program> {
    static NETWORK: OnceLock<Arc<Program>> = OnceLock::new();
    NETWORK.get_or_init(|| Arc::new(common::tiny().program().0))
}

/// What a client makes of a server that greets it as it should, sends this for an architecture, and stays to see the
/// end.
fn reads(architecture: Vec<u8>) -> Result<()> {
    let (client, mut server) = local_pair();
    let server = thread::spawn(move || {
        let hello = server.recv().expect("the client's hello");
        server.send(hello).expect("room");
        server.send(architecture).expect("room");
        // The client's key, if the architecture passes; the client's end, if not.
        server.recv().is_ok()
    });
    let (prng, options) = (Prng::from_seed_for_tests([1; 32]), Options::new(Device::cpu()));
    let result = Session::setup(Role::Client, client, prng, options);
    let went_on = server.join().expect("no panic");
    match result {
        // The server leaves after the key.
        Err(Error::Connection(_)) if went_on => Ok(()),
        Err(error) => {
            assert!(!went_on, "after a key: {error}");
            Err(error)
        }
        Ok(_) => panic!("nobody was there for the base OTs"),
    }
}

/// Whether the error is about the architecture, from its decoder or its planner, and not about the connection.
fn is_about_the_architecture(error: &Error) -> bool {
    match error {
        Error::Protocol(what) => what.contains("architecture"),
        Error::Model(what) => what.starts_with("layer "),
        _ => false,
    }
}

/// An edit that makes a network impossible or immense.
type Edit = fn(&mut Program);

#[test]
fn immense_and_inconsistent_networks_are_refused() {
    let edits: [(&str, Edit); 20] = [
        ("dimensions whose product overflows", |p| p.tensors[0].dims = [usize::MAX, 2, 1]),
        ("a tensor beyond all memory", |p| p.tensors[0].dims = [1 << 20, 1 << 20, 1]),
        ("an empty tensor", |p| p.tensors[1].channels = 0),
        ("no steps", |p| p.steps.clear()),
        ("no tensors", |p| p.tensors.clear()),
        ("an input that is no tensor", |p| p.input = usize::MAX),
        ("scores that are no tensor", |p| p.logits = usize::MAX),
        ("more classes than scores", |p| p.classes = 200),
        ("a step before its input", |p| p.steps.reverse()),
        ("too many tensors", |p| {
            p.tensors = vec![p.tensors[0].clone(); blindvox_models::integers::program::MAX_STEPS + 1]
        }),
        ("more elements together than any machine has", |p| {
            p.tensors[0].dims = [1 << 10, 1 << 9, 1 << 9];
            p.tensors.extend(vec![p.tensors[0].clone(); 100]);
        }),
        ("a name that moves the cursor", |p| p.tensors[0].name = "\u{1b}[2J".into()),
        ("a long name", |p| p.tensors[0].name = "x".repeat(100_000)),
        ("a tensor read a million times", |p| {
            let Some(Step::Linear(l)) = p.steps.first_mut() else { panic!("a convolution first") };
            l.inputs = vec![0; 1_000_000];
            l.in_channels = 1_000_000;
        }),
        ("more channels than a bundle may have", |p| {
            p.tensors[0].channels = public::MAX_CHANNELS + 1;
            p.tensors[0].dims = [1; 3];
        }),
        ("voxels that no window of a convolution meets", |p| p.tensors[0].dims[0] -= 2),
        ("a stride of 0", |p| {
            let Some(Step::Linear(l)) = p.steps.first_mut() else { panic!("a convolution first") };
            l.kind = LinearKind::Conv { kernel: [1; 3], stride: [1, 0, 1], padding: [0; 3] };
        }),
        ("more padding than can be counted", |p| {
            let Some(Step::Linear(l)) = p.steps.first_mut() else { panic!("a convolution first") };
            l.kind = LinearKind::Conv { kernel: [1; 3], stride: [1; 3], padding: [usize::MAX, 0, 0] };
        }),
        ("a stride that leaves no such grid", |p| {
            let Some(Step::Linear(l)) = p.steps.first_mut() else { panic!("a convolution first") };
            l.kind = LinearKind::Conv { kernel: [1; 3], stride: [2, 1, 1], padding: [0; 3] };
        }),
        ("a shift of all bits", |p| {
            let Some(Step::Linear(l)) = p.steps.first_mut() else { panic!("a convolution first") };
            l.shift = 32;
        }),
    ];
    for (what, edit) in edits {
        let mut program = network().public_view();
        edit(&mut program);
        let error = public::decode(&public::encode(&program).expect("encodes")).expect_err(what);
        assert!(matches!(error, Error::Protocol(_)), "{what}: {error}");
        let message = error.to_string();
        assert!(message.starts_with("protocol: architecture: ") && message.len() < 1000, "{what}: {message}");
    }
    // With weights, which no server should give away.
    let bytes = postcard::to_allocvec(&**network()).expect("encodes");
    assert!(public::decode(&bytes).expect_err("weights").to_string().contains("weights"));
}

#[test]
fn the_networks_that_are_shipped_pass() {
    let bytes = public::encode(network()).expect("encodes");
    assert_eq!(public::decode(&bytes).expect("decodes"), network().public_view());
}

fn params() -> [Params; 2] {
    [Params::hom_conv(), Params::square_pairs()]
}

/// A public key's and a ciphertext's bytes, true ones.
fn true_bytes(which: usize) -> (Vec<u8>, Vec<u8>) {
    let (params, mut prng) = (&params()[which], Prng::from_seed_for_tests([9; 32]));
    let key = SecretKey::generate(params, &Device::cpu(), &mut prng).expect("a key");
    let message = vec![3; params.n()];
    let ciphertext = key.encrypt_seeded(&message, &mut prng).expect("a ciphertext").to_bytes().expect("bytes");
    (key.public_key(&mut prng).expect("a key").to_bytes(), ciphertext)
}

#[test]
fn keys_and_ciphertexts_of_wrong_length_or_range_are_refused() {
    for (which, params) in params().iter().enumerate() {
        let (key, ciphertext) = true_bytes(which);
        let device = Device::cpu();
        let read = |k: &[u8], c: &[u8]| {
            (
                PublicKey::from_bytes(params, &device, k).is_ok(),
                SeededCiphertexts::from_bytes(params, &device, 1, c).is_ok(),
            )
        };
        assert_eq!(read(&key, &ciphertext), (true, true));
        for len in [0, 15, 16, 17, key.len() - 1] {
            assert_eq!(read(&key[..len], &ciphertext[..len]), (false, false), "{len}");
        }
        let longer = |b: &[u8]| [b, &[0]].concat();
        assert_eq!(read(&longer(&key), &longer(&ciphertext)), (false, false));
        // All ones are no residue below a prime.
        let ones = |b: &[u8]| [&b[..16], &vec![0xff; b.len() - 16]].concat();
        assert_eq!(read(&ones(&key), &ones(&ciphertext)), (false, false));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_architecture_is_an_error_or_decodes(
        edits in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        cut in proptest::option::weighted(0.2, any::<prop::sample::Index>()),
    ) {
        let mut bytes = public::encode(network()).expect("encodes");
        let whole = bytes.clone();
        for (at, to) in edits {
            let at = at.index(bytes.len());
            bytes[at] = to;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        match reads(bytes.clone()) {
            Ok(()) => prop_assert!(public::decode(&bytes).is_ok(), "a client that goes on has decoded it"),
            Err(error) => {
                prop_assert!(bytes != whole, "the network itself is refused: {error}");
                prop_assert!(is_about_the_architecture(&error), "{error}");
            }
        }
    }

    #[test]
    fn random_bytes_are_no_architecture(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        prop_assert!(public::decode(&bytes).is_err());
    }

    #[test]
    fn any_key_and_ciphertext_is_an_error_or_decodes(
        which in 0usize..2,
        edits in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        cut in any::<prop::sample::Index>(),
        batch in 0usize..3,
    ) {
        let (mut key, mut ciphertext) = true_bytes(which);
        for (at, to) in edits {
            let (k, c) = (at.index(key.len()), at.index(ciphertext.len()));
            (key[k], ciphertext[c]) = (to, to);
        }
        let (params, device) = (&params()[which], Device::cpu());
        let _ = PublicKey::from_bytes(params, &device, &key);
        let _ = SeededCiphertexts::from_bytes(params, &device, batch, &ciphertext);
        let (k, c) = (cut.index(key.len()), cut.index(ciphertext.len()));
        prop_assert!(PublicKey::from_bytes(params, &device, &key[..k]).is_err());
        prop_assert!(SeededCiphertexts::from_bytes(params, &device, 1, &ciphertext[..c]).is_err());
    }
}
