//! A run with fixed seeds sends the same bytes, today and on every machine.

use blindvox_models::testing as common;

use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;

use blindvox_engine::bfv::{Params, SecretKey};
use blindvox_engine::{Device, Prng};
use blindvox_models::Program;
use blindvox_net::channel::{Channel, Party, local_pair};
use blindvox_protocols::correlations::{Dealer, SquarePairs};
use blindvox_protocols::infer::report::StepCost;
use blindvox_protocols::infer::{Comparison, Options, PairSupply, Products, Randomness, Role, Session, Ways, local};
use blindvox_protocols::ot::silent::B10;
use blindvox_protocols::peer::Link;

fn hex(digest: &[u8]) -> String {
    digest.iter().fold(String::new(), |mut text, b| {
        let _ = write!(text, "{b:02x}");
        text
    })
}

/// The digests of a network and of what its run sends, one a line.
fn digests(name: &str, program: Program, input: &[i32], comparison: Comparison) -> String {
    let network = postcard::to_allocvec(&(&program, input)).expect("encodes");
    let mut options = Options::new(Device::cpu());
    options.ways.compare = comparison;
    options.randomness = Randomness::FixedForTests(1);
    let run = local::run(Arc::new(program), input, &options, &mut ()).expect("a run");
    let labels = run.client.labels.expect("labels");
    let [client, server] = [run.client.transcript, run.server.transcript].map(|t| hex(&t.expect("recorded")));
    let (network, labels) = (hex(blake3::hash(&network).as_bytes()), hex(blake3::hash(&labels).as_bytes()));
    format!("{name} network {network}\n{name} labels {labels}\n{name} client {client}\n{name} server {server}\n")
}

/// The digests of what both parties send in two iterations of silent OT with the smallest set, and of the client's
/// labels.
fn silent() -> String {
    let half = |party: Party, mut channel: Channel| {
        channel.record_transcript();
        let mut link = Link::setup(party, channel, Prng::from_seed_for_tests([party as u8 + 1; 32])).expect("OTs");
        let Link { channel, ot, prng, .. } = &mut link;
        ot.go_silent(party, channel, prng, [Some(&B10), None]).expect("silent OTs");
        let labels = match party {
            Party::Server => ot.send.labels(channel, 600_000),
            Party::Client => ot.recv.labels(channel, &[1; 600_000]),
        };
        let labels: Vec<u8> = labels.expect("labels").iter().flat_map(|l| l.to_le_bytes()).collect();
        [hex(&channel.transcript_digest().expect("recorded")), hex(blake3::hash(&labels).as_bytes())]
    };
    let (client, server) = local_pair();
    let (client, server) = std::thread::scope(|scope| {
        let server = scope.spawn(|| half(Party::Server, server));
        (half(Party::Client, client), server.join().expect("no panic"))
    });
    format!("silent labels {}\nsilent client {}\nsilent server {}\n", client[1], client[0], server[0])
}

/// The file in `tests/golden` changes only where messages are meant to change: `BLESS=1` writes it anew.
#[test]
fn transcripts_are_as_recorded() {
    let mut found = String::new();
    for (name, written) in [("tiny", common::tiny()), ("planar", common::tiny_planar())] {
        for (kind, comparison) in [("sign-select", Comparison::SignSelect), ("full-circuit", Comparison::FullCircuit)] {
            let (program, input) = written.program();
            found += &digests(&format!("{name} {kind}"), program, &input, comparison);
        }
    }
    for (name, written) in [("tiny", common::tiny()), ("planar", common::tiny_planar())] {
        let (program, input) = written.program();
        found += &digests(&format!("{name} transfers"), program, &input, Comparison::Transfers);
    }
    found += &silent();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/transcripts.txt");
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&path, &found).expect("a write");
    }
    let golden = std::fs::read_to_string(&path).expect("the recorded digests");
    for (found, golden) in found.lines().zip(golden.lines()) {
        assert_eq!(found, golden, "if this is meant, run the test once with BLESS=1");
    }
    assert_eq!(found.lines().count(), golden.lines().count());
}

/// Pairs made ahead leave the online phase lighter by what preprocessing takes more.
#[test]
fn pairs_are_made_ahead_or_as_they_are_used() {
    let (program, input) = common::tiny().program();
    let program = Arc::new(program);
    let [used, ahead] = [PairSupply::AsUsed, PairSupply::Ahead].map(|pairs| {
        let ways = Ways { products: Products::He(pairs), ..Ways::BUNET };
        let options = Options { ways, ..Options::new(Device::cpu()) };
        let run = local::run(program.clone(), &input, &options, &mut ()).expect("a run");
        let bytes = |costs: &[StepCost]| costs.iter().map(|c| c.traffic.sent + c.traffic.received).sum::<u64>();
        (run.client.labels.expect("labels").len(), bytes(&run.client.preparation), bytes(&run.client.steps))
    });
    // 1024 values are squared: one ciphertext each way.
    let ciphertexts = 16 + 8192 * (150 + 100) / 8;
    assert_eq!((used.1 + ciphertexts, used.2), (ahead.1, ahead.2 + ciphertexts));
    assert_eq!(used.0, ahead.0);
}

/// A party after setup, with seeds known to the test.
fn session(party: Party, channel: Channel, program: &Arc<Program>) -> Session {
    let role = match party {
        Party::Client => Role::Client,
        Party::Server => Role::Server(program.clone()),
    };
    let prng = Prng::from_seed_for_tests([0xab; 32]);
    Session::setup(role, channel, prng, Options::new(Device::cpu())).expect("a session")
}

/// The whole of each text is known, so nothing secret is in it.
#[test]
fn debug_output_holds_no_secrets() {
    let mut prng = Prng::from_seed_for_tests([0xab; 32]);
    let params = Params::hom_conv();
    let key = SecretKey::generate(&params, &Device::cpu(), &mut prng).expect("a key");
    assert_eq!(format!("{key:?}"), format!("SecretKey({}, ..)", params.describe()));
    assert_eq!(format!("{prng:?} {prng:#?}"), "Prng(..) Prng(..)");

    // Of weights and biases not even one is shown.
    let shown = format!("{:?}", common::tiny().program().0);
    let convolution =
        "Linear(enc.0, Conv { kernel: [3, 3, 3], stride: [1, 1, 1], padding: [1, 1, 1] }, 1 to 2 channels, shift ";
    assert!(shown.contains(convolution) && !shown.contains("weights"), "{shown}");

    let (client, server) = local_pair();
    let mut dealer = Dealer::for_tests(Party::Client, [5; 32]);
    let pairs: SquarePairs = dealer.deal(3);
    assert_eq!(format!("{dealer:?} {pairs:?}"), "Dealer(..) SquarePairs(3 left)");

    let program = Arc::new(common::tiny().program().0);
    let steps = program.steps.len();
    let (client, server) = std::thread::scope(|scope| {
        let server = scope.spawn(|| {
            let session = session(Party::Server, server, &program);
            assert_eq!(format!("{session:?}"), format!("Session(Server, {steps} steps)"));
            session.preprocess().expect("pairs")
        });
        let session = session(Party::Client, client, &program);
        assert_eq!(format!("{session:?}"), format!("Session(Client, {steps} steps)"));
        (session.preprocess().expect("pairs"), server.join().expect("no panic"))
    });
    for (who, ready) in [("Client", client), ("Server", server)] {
        let source = "HeSource(SquarePairs(0 left), BeaverTriples(0 left))";
        assert_eq!(format!("{ready:?}"), format!("Ready(Session({who}, {steps} steps), {source})"));
    }
}
