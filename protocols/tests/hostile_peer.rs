//! A whole run against a network that spoils it: every fault ends both parties' runs with an error, or with a result where
//! nothing could tell (security is semi-honest), but never with a panic, and never hangs.

use blindvox_models::testing as common;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use blindvox_engine::bfv::{Params, PublicKey, SecretKey};
use blindvox_engine::rlwe::SeededCiphertexts;
use blindvox_engine::{Device, Prng};
use blindvox_models::{LinearKind, Program, Step};
use blindvox_net::channel::{Channel, MAX_MESSAGE, Party, local_pair};
use blindvox_net::transport::queue::{Message, Popper, Pusher, queue};
use blindvox_protocols::infer::session::plans;
use blindvox_protocols::infer::{Options, Outcome, Role, Session, architecture};
use blindvox_protocols::{Error, Result};
use proptest::prelude::*;

/// Longer than a run can take: who has not ended by then hangs.
const HANG: Duration = Duration::from_secs(240);
/// How long a party waits in runs whose messages go missing.
const PATIENCE: Duration = Duration::from_millis(1500);
/// In other runs nobody should have to wait for the time-out.
const FOREVER: Duration = Duration::from_secs(3600);

fn network() -> &'static (Arc<Program>, Vec<i32>) {
    static NETWORK: OnceLock<(Arc<Program>, Vec<i32>)> = OnceLock::new();
    NETWORK.get_or_init(|| {
        let (program, input) = common::tiny().program();
        (Arc::new(program), input)
    })
}

/// One party's whole run.
fn take_part(party: Party, mut channel: Channel, patience: Duration) -> Result<Outcome> {
    channel.set_timeout(patience);
    let (program, input) = network();
    let prng = match channel.leaves_process() {
        true => Prng::from_os().expect("randomness"),
        false => Prng::from_seed_for_tests([party as u8; 32]),
    };
    let options = Options::new(Device::cpu());
    match party {
        Party::Client => Session::setup(Role::Client, channel, prng, options)?.preprocess()?.run_client(input, &mut ()),
        Party::Server => {
            Session::setup(Role::Server(program.clone()), channel, prng, options)?.preprocess()?.run_server(&mut ())
        }
    }
}

/// Tells that a thread has ended, by panic too.
struct Ended(Sender<()>);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.send(());
    }
}

/// Both parties' ends: the client's and the server's.
fn run_both(client: Channel, server: Channel, patience: Duration) -> (Result<Outcome>, Result<Outcome>) {
    let (ended, ends) = mpsc::channel();
    let start = |party, channel| {
        let ended = Ended(ended.clone());
        thread::spawn(move || {
            let _ended = ended;
            take_part(party, channel, patience)
        })
    };
    let (client, server) = (start(Party::Client, client), start(Party::Server, server));
    for _ in 0..2 {
        ends.recv_timeout(HANG).expect("a party hangs");
    }
    (client.join().expect("the client panicked"), server.join().expect("the server panicked"))
}

/// What happens to a message.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    Truncated,
    Lengthened,
    Oversized,
    Flipped,
    Dropped,
    Duplicated,
    Closed,
}

impl Fault {
    /// What is delivered instead; none where the connection closes.
    fn apply(self, mut message: Message, at: usize) -> Option<Vec<Message>> {
        let bytes = &mut message.bytes;
        match self {
            Self::Truncated => drop(bytes.pop()),
            Self::Lengthened => bytes.push(0),
            Self::Oversized => bytes.resize(MAX_MESSAGE + 1, 0),
            Self::Flipped => {
                let byte = at * 7919 % bytes.len().max(1);
                bytes.iter_mut().skip(byte).take(1).for_each(|b| *b ^= 1 << (at % 8));
            }
            Self::Dropped => return Some(vec![]),
            Self::Duplicated => return Some(vec![message.clone(), message]),
            Self::Closed => return None,
        }
        Some(vec![message])
    }
}

/// Passes messages on, all but the `k`-th unharmed, until either end closes; how many there were.
fn forward(from: &Popper, to: &Pusher, fault: Option<(usize, Fault)>) -> usize {
    let mut seen = 0;
    while let Ok(message) = from.pop(FOREVER) {
        let deliver = match fault {
            Some((k, fault)) if k == seen => fault.apply(message, k),
            _ => Some(vec![message]),
        };
        seen += 1;
        let Some(deliver) = deliver else { break };
        if deliver.into_iter().any(|m| to.push(m, FOREVER).is_err()) {
            break;
        }
    }
    seen
}

/// A run through a man in the middle who harms the `k`-th message that `from` sends; messages each party sent.
fn run_through(fault: Option<(Party, usize, Fault)>) -> ((Result<Outcome>, Result<Outcome>), [usize; 2]) {
    let (client_out, from_client) = queue();
    let (to_server, server_in) = queue();
    let (server_out, from_server) = queue();
    let (to_client, client_in) = queue();
    let harm = |party| fault.filter(|f| f.0 == party).map(|(_, k, f)| (k, f));
    let (up, down) = (harm(Party::Client), harm(Party::Server));
    let up = thread::spawn(move || forward(&from_client, &to_server, up));
    let down = thread::spawn(move || forward(&from_server, &to_client, down));
    let patience = if matches!(fault, Some((_, _, Fault::Dropped))) { PATIENCE } else { FOREVER };
    let ends = run_both(Channel::new((client_out, client_in)), Channel::new((server_out, server_in)), patience);
    (ends, [up.join().expect("a count"), down.join().expect("a count")])
}

/// Messages that client and server send in a run.
fn messages() -> [usize; 2] {
    static MESSAGES: OnceLock<[usize; 2]> = OnceLock::new();
    *MESSAGES.get_or_init(|| {
        let ((client, server), messages) = run_through(None);
        assert!(client.expect("an honest run").labels.is_some() && server.is_ok());
        messages
    })
}

fn message(result: &Result<Outcome>) -> String {
    result.as_ref().err().map(ToString::to_string).unwrap_or_default()
}

/// Spoils messages spread over the whole run in both directions, `first` and every `stride`-th after it.
fn spoil(fault: Fault, first: usize, stride: usize) {
    let sent = messages();
    for (from, count) in [Party::Client, Party::Server].into_iter().zip(sent) {
        assert!(count > 20, "{from:?} sends only {count} messages");
        for k in (first..count).step_by(stride).chain([count - 1]) {
            let ((client, server), _) = run_through(Some((from, k, fault)));
            let receiver = if from == Party::Client { &server } else { &client };
            let told = message(receiver);
            let what =
                format!("{fault:?} {k} of {count} from {from:?}: {:?}, {:?}", message(&client), message(&server));
            match fault {
                // Lengths are known to the receiver: none of these can pass.
                Fault::Truncated | Fault::Lengthened | Fault::Oversized => {
                    assert!(matches!(receiver, Err(Error::Protocol(_) | Error::Engine(_))), "{what}");
                }
                Fault::Closed => {
                    assert!(matches!(receiver, Err(Error::Connection(_))), "{what}");
                    assert!(!told.contains("timed out"), "{what}");
                }
                Fault::Dropped => assert!(receiver.is_err(), "{what}"),
                // After the last message nobody reads any more.
                Fault::Duplicated => assert!(matches!(receiver, Err(Error::Protocol(_))) || k + 1 == count, "{what}"),
                Fault::Flipped => {}
            }
            if let Ok(Outcome { labels: Some(labels), .. }) = client {
                assert!(labels.iter().all(|&l| usize::from(l) < network().0.classes), "{what}");
            }
        }
    }
}

#[test]
fn truncated_messages_are_errors() {
    spoil(Fault::Truncated, 0, 5);
}

#[test]
fn lengthened_messages_are_errors() {
    spoil(Fault::Lengthened, 1, 5);
}

#[test]
fn oversized_messages_are_errors() {
    spoil(Fault::Oversized, 2, 16);
}

#[test]
fn flipped_bits_do_no_harm() {
    spoil(Fault::Flipped, 0, 3);
}

/// What a party sent, message by message: lengths.
type Sent = Vec<usize>;

/// A run in which bit `bit` of the server's message number `k` is turned: the client's result and the lengths of all that it sent.
fn lengths_through(turn: Option<(usize, usize)>) -> (Result<Outcome>, Sent, Sent) {
    let (client_out, from_client) = queue();
    let (to_server, server_in) = queue();
    let (server_out, from_server) = queue();
    let (to_client, client_in) = queue();
    let relay = |from: Popper, to: Pusher, turn: Option<(usize, usize)>| {
        thread::spawn(move || {
            let mut lengths = Sent::new();
            while let Ok(mut message) = from.pop(FOREVER) {
                if let Some((k, bit)) = turn
                    && k == lengths.len()
                {
                    message.bytes[bit / 8] ^= 1 << (bit % 8);
                }
                lengths.push(message.bytes.len());
                if to.push(message, FOREVER).is_err() {
                    break;
                }
            }
            lengths
        })
    };
    let (up, down) = (relay(from_client, to_server, None), relay(from_server, to_client, turn));
    let (client, server) =
        run_both(Channel::new((client_out, client_in)), Channel::new((server_out, server_in)), FOREVER);
    assert!(server.is_ok(), "the server sees nothing of it: {:?}", message(&server));
    (client, up.join().expect("lengths"), down.join().expect("lengths"))
}

/// The colours of the labels are all that a run opens: whatever is turned in them, the client sends the same, and says only to itself
/// that a label is none of the three classes. Each bit of a whole message is turned in the tests of `argmax`.
#[test]
fn turned_bits_of_evaluated_values_change_nothing_that_is_sent() {
    let (honest, sent, received) = lengths_through(None);
    assert!(honest.is_ok());
    // Two planes of two chunks of 256 voxels: the last message of that length.
    let colours = 2 * 2 * 32;
    let last = received.iter().rposition(|&len| len == colours).expect("the colours of 512 labels");
    let mut told = [0; 2];
    for bit in (0..8 * colours).step_by(93).chain([8 * colours - 1]) {
        let (client, now, _) = lengths_through(Some((last, bit)));
        assert_eq!(now, sent, "bit {bit}");
        match client {
            Ok(outcome) => {
                told[0] += 1;
                let labels = outcome.labels.expect("the client's");
                assert!(labels.iter().all(|&l| usize::from(l) < network().0.classes));
            }
            Err(error) => {
                told[1] += 1;
                assert!(error.to_string().contains("out of its range"), "{error}");
            }
        }
    }
    assert!(told[0] > 0 && told[1] > 0, "{told:?}");
}

#[test]
fn dropped_messages_are_errors() {
    spoil(Fault::Dropped, 3, 17);
}

#[test]
fn duplicated_messages_are_errors() {
    spoil(Fault::Duplicated, 0, 6);
}

#[test]
fn a_peer_that_goes_away_is_noticed_at_once() {
    spoil(Fault::Closed, 0, 5);
}

// Over TCP.

/// Bytes of a frame's length and number.
const HEADER: usize = 8;

/// Reads one frame whole: its length, its number and its bytes.
fn frame(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut frame = vec![0; HEADER];
    stream.read_exact(&mut frame).ok()?;
    let length = frame[..4].try_into().map(u32::from_le_bytes).ok()?;
    frame.resize(HEADER + length as usize, 0);
    stream.read_exact(&mut frame[HEADER..]).ok()?;
    Some(frame)
}

/// What a man in the middle does to the `k`-th frame before he closes the connection.
#[derive(Clone, Copy, Debug)]
enum Cut {
    /// Nothing of it arrives.
    Before,
    /// The connection closes within the length.
    InLength,
    /// And within the message.
    InMessage,
    /// A length of 4 GiB is announced.
    Announced,
    /// The length says one byte less than there is, so that all later frames are out of step.
    Shifted,
}

fn forward_frames(mut from: TcpStream, mut to: TcpStream, fault: Option<(usize, Cut)>) {
    let mut seen = 0;
    while let Some(mut frame) = frame(&mut from) {
        let mut last = false;
        if let Some((k, cut)) = fault
            && k == seen
        {
            last = !matches!(cut, Cut::Announced | Cut::Shifted);
            let shorter = (frame.len() - HEADER) as u32 - 1;
            match cut {
                Cut::Before => frame.clear(),
                Cut::InLength => frame.truncate(2),
                Cut::InMessage => frame.truncate(HEADER + shorter as usize / 2),
                Cut::Announced => frame[..4].fill(0xff),
                Cut::Shifted => frame[..4].copy_from_slice(&shorter.to_le_bytes()),
            }
        }
        seen += 1;
        if to.write_all(&frame).is_err() || last {
            break;
        }
    }
    let _ = (from.shutdown(std::net::Shutdown::Both), to.shutdown(std::net::Shutdown::Both));
}

/// Two sockets, connected.
fn sockets() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let near = TcpStream::connect(listener.local_addr().expect("an address")).expect("a connection");
    (near, listener.accept().expect("a connection").0)
}

#[test]
fn broken_connections_over_tcp_are_errors_at_once() {
    let sent = messages();
    let honest = [None];
    let faults = [Cut::Before, Cut::InLength, Cut::InMessage, Cut::Announced, Cut::Shifted].map(Some);
    for (i, cut) in honest.into_iter().chain(faults).enumerate() {
        for (from, count) in [Party::Client, Party::Server].into_iter().zip(sent) {
            for k in [i, count / 3 + i, count - 1] {
                let ((client, middle_client), (server, middle_server)) = (sockets(), sockets());
                let copies = [&middle_client, &middle_server].map(|s| s.try_clone().expect("a socket"));
                let [client_again, server_again] = copies;
                let fault = |party| cut.filter(|_| party == from).map(|cut| (k, cut));
                let (up, down) = (fault(Party::Client), fault(Party::Server));
                thread::spawn(move || forward_frames(middle_client, middle_server, up));
                thread::spawn(move || forward_frames(server_again, client_again, down));
                let channel = |socket| Channel::tcp(socket).expect("a channel");
                let (client, server) = run_both(channel(client), channel(server), FOREVER);
                let what = format!("{cut:?} {k} from {from:?}: {:?}, {:?}", message(&client), message(&server));
                let receiver = if from == Party::Client { &server } else { &client };
                match cut {
                    None => assert!(client.is_ok() && server.is_ok(), "{what}"),
                    Some(Cut::Announced) => assert!(message(receiver).contains("at most"), "{what}"),
                    Some(_) => {
                        assert!(receiver.is_err() && !message(receiver).contains("timed out"), "{what}");
                    }
                }
            }
        }
    }
}

#[test]
fn a_fixed_seed_never_leaves_the_process() {
    let (program, _) = network();
    for role in [Role::Client, Role::Server(program.clone())] {
        let ((near, mut far), seed) = (sockets(), Prng::from_seed_for_tests([1; 32]).fork("a"));
        let channel = Channel::tcp(near).expect("a channel");
        let error = Session::setup(role, channel, seed, Options::new(Device::cpu())).expect_err("a fixed seed");
        assert!(matches!(error, Error::Input(_)) && error.to_string().contains("fixed seed"), "{error}");
        let mut sent = Vec::new();
        far.read_to_end(&mut sent).expect("a connection that was ended");
        assert!(sent.is_empty());
    }
}

// What a server says of its model.

/// What a client makes of a server that greets it as it should, sends this for an architecture, and stays to see the end.
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
            p.tensors[0].channels = architecture::MAX_CHANNELS + 1;
            p.tensors[0].dims = [1; 3];
        }),
        ("a kernel beyond all", |p| {
            let Some(Step::Linear(l)) = p.steps.first_mut() else { panic!("a convolution first") };
            l.kind = LinearKind::conv([1, 32, 1]);
        }),
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
        let mut program = network().0.public_view();
        edit(&mut program);
        let error = architecture::decode(&architecture::encode(&program).expect("encodes")).expect_err(what);
        assert!(matches!(error, Error::Protocol(_)), "{what}: {error}");
        let message = error.to_string();
        assert!(message.starts_with("protocol: architecture: ") && message.len() < 1000, "{what}: {message}");
    }
    // With weights, which no server should give away.
    let bytes = postcard::to_allocvec(&*network().0).expect("encodes");
    assert!(architecture::decode(&bytes).expect_err("weights").to_string().contains("weights"));
}

/// Mutations of one byte or bit, one removed or put in, many more than go through a channel: of them a good part decodes, so that the
/// rest is refused for what it says, and each is done with at once.
#[test]
fn mutations_of_an_architecture_reach_the_decoder() {
    assert!(reads(architecture::encode(&network().0).expect("encodes")).is_ok(), "the network itself passes");
    let whole = architecture::encode(&network().0).expect("encodes");
    let (mut prng, cases) = (Prng::from_seed_for_tests([77; 32]), 20_000);
    let (mut decoded, mut planned, mut refused) = (0, 0, 0);
    for _ in 0..cases {
        let mut bytes = whole.clone();
        for _ in 0..1 + prng.next_u32() % 3 {
            let at = prng.next_u32() as usize % bytes.len();
            match prng.next_u32() % 4 {
                0 => bytes[at] = prng.next_u32() as u8,
                1 => drop(bytes.remove(at)),
                2 => bytes.insert(at, prng.next_u32() as u8 | 0x80),
                _ => bytes[at] ^= 1 << (prng.next_u32() % 8),
            }
        }
        match architecture::decode(&bytes) {
            Ok(program) => match plans(&program) {
                Ok(_) => (decoded, planned) = (decoded + 1, planned + 1),
                Err(error) => {
                    decoded += 1;
                    assert!(is_about_the_architecture(&error), "{error}");
                }
            },
            Err(error) => {
                refused += 1;
                assert!(is_about_the_architecture(&error), "{error}");
            }
        }
    }
    assert!(decoded > cases / 50 && planned > cases / 100 && refused > cases / 2, "{decoded}, {planned}, {refused}");
}

#[test]
fn the_networks_that_are_shipped_pass() {
    let bytes = architecture::encode(&network().0).expect("encodes");
    assert_eq!(architecture::decode(&bytes).expect("decodes"), network().0.public_view());
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
        let mut bytes = architecture::encode(&network().0).expect("encodes");
        let whole = bytes.clone();
        for (at, to) in edits {
            let at = at.index(bytes.len());
            bytes[at] = to;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        match reads(bytes.clone()) {
            Ok(()) => prop_assert!(architecture::decode(&bytes).is_ok(), "a client that goes on has decoded it"),
            Err(error) => {
                prop_assert!(bytes != whole, "the network itself is refused: {error}");
                prop_assert!(is_about_the_architecture(&error), "{error}");
            }
        }
    }

    #[test]
    fn random_bytes_are_no_architecture(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        prop_assert!(architecture::decode(&bytes).is_err());
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
