//! A whole run against a network that spoils it: every fault ends both parties' runs with an error, or with a result
//! where nothing could tell (security is semi-honest), but never with a panic, and never hangs.

use blindvox_models::testing as common;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use blindvox_engine::{Device, Prng};
use blindvox_models::Program;
use blindvox_net::channel::{Channel, Party};
use blindvox_net::testing::{Fault, Harm, Relay};
use blindvox_protocols::infer::{Client, Options, Outcome, Randomness, Role, Server, Session};
use blindvox_protocols::{Error, Result};

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

/// What the client and the server end with.
type Ends = (Result<Outcome>, Result<Outcome>);

/// One party's whole run.
fn take_part(party: Party, mut channel: Channel, patience: Duration) -> Result<Outcome> {
    channel.set_timeout(patience);
    let (program, input) = network();
    let mut options = Options::new(Device::cpu());
    if !channel.leaves_process() {
        options.randomness = Randomness::FixedForTests(0);
    }
    match party {
        Party::Client => Client::connect(channel, options)?.run(input, &mut ()),
        Party::Server => Server::new(program.clone(), options).serve(channel),
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
fn run_both(client: Channel, server: Channel, patience: Duration) -> Ends {
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

/// A run through a relay that harms a message; the lengths of the messages that each party sent.
fn run_through(harm: Option<Harm>) -> (Ends, [Vec<usize>; 2]) {
    let (relay, client, server) = Relay::between(harm);
    let patience = if harm.is_some_and(|harm| harm.fault.is_silence()) { PATIENCE } else { FOREVER };
    (run_both(client, server, patience), relay.lengths())
}

/// Messages that client and server send in a run.
fn messages() -> [usize; 2] {
    static MESSAGES: OnceLock<[usize; 2]> = OnceLock::new();
    *MESSAGES.get_or_init(|| {
        let ((client, server), messages) = run_through(None);
        assert!(client.expect("an honest run").labels.is_some() && server.is_ok());
        messages.map(|lengths| lengths.len())
    })
}

fn message(result: &Result<Outcome>) -> String {
    result.as_ref().err().map(ToString::to_string).unwrap_or_default()
}

/// Spoils messages spread over the whole run in both directions, `first` and every `stride`-th after it.
fn spoil(fault: impl Fn(usize) -> Fault, first: usize, stride: usize) {
    let sent = messages();
    for (from, count) in [Party::Client, Party::Server].into_iter().zip(sent) {
        assert!(count > 20, "{from:?} sends only {count} messages");
        for k in (first..count).step_by(stride).chain([count - 1]) {
            let fault = fault(k);
            let ((client, server), _) = run_through(Some(Harm { from, pass: k, fault }));
            let receiver = if from == Party::Client { &server } else { &client };
            let told = message(receiver);
            let what =
                format!("{fault:?} {k} of {count} from {from:?}: {:?}, {:?}", message(&client), message(&server));
            match fault {
                // Lengths are known to the receiver: none of these can pass.
                Fault::Short | Fault::Long | Fault::Oversized => {
                    assert!(matches!(receiver, Err(Error::Protocol(_) | Error::Engine(_))), "{what}");
                }
                Fault::Closed => {
                    assert!(matches!(receiver, Err(Error::Connection(_))), "{what}");
                    assert!(!told.contains("timed out"), "{what}");
                }
                Fault::Lost | Fault::Swapped | Fault::Stopped => assert!(receiver.is_err(), "{what}"),
                // After the last message nobody reads any more.
                Fault::Twice => assert!(matches!(receiver, Err(Error::Protocol(_))) || k + 1 == count, "{what}"),
                Fault::Turned { .. } | Fault::Scrambled | Fault::Late => {}
            }
            if let Ok(Outcome { labels: Some(labels), .. }) = client {
                assert!(labels.iter().all(|&l| usize::from(l) < network().0.classes), "{what}");
            }
        }
    }
}

#[test]
fn truncated_messages_are_errors() {
    spoil(|_| Fault::Short, 0, 5);
}

#[test]
fn lengthened_messages_are_errors() {
    spoil(|_| Fault::Long, 1, 5);
}

#[test]
fn oversized_messages_are_errors() {
    spoil(|_| Fault::Oversized, 2, 16);
}

#[test]
fn flipped_bits_do_no_harm() {
    spoil(|k| Fault::Turned { bit: 8 * 7919 * k + k % 8 }, 0, 3);
}

/// The colours of the labels are all that a run opens: whatever is turned in them, the client sends the same, and says
/// only to itself that a label is none of the three classes. Each bit of a whole message is turned in the tests of
/// `argmax`.
#[test]
fn turned_bits_of_evaluated_values_change_nothing_that_is_sent() {
    let ((honest, _), [sent, received]) = run_through(None);
    assert!(honest.is_ok());
    // Two planes of two chunks of 256 voxels: the last message of that length.
    let colours = 2 * 2 * 32;
    let last = received.iter().rposition(|&len| len == colours).expect("the colours of 512 labels");
    let mut told = [0; 2];
    for bit in (0..8 * colours).step_by(93).chain([8 * colours - 1]) {
        let harm = Harm { from: Party::Server, pass: last, fault: Fault::Turned { bit } };
        let ((client, server), [now, _]) = run_through(Some(harm));
        assert!(server.is_ok(), "the server sees nothing of it: {:?}", message(&server));
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
    spoil(|_| Fault::Lost, 3, 17);
}

#[test]
fn duplicated_messages_are_errors() {
    spoil(|_| Fault::Twice, 0, 6);
}

#[test]
fn a_peer_that_goes_away_is_noticed_at_once() {
    spoil(|_| Fault::Closed, 0, 5);
}

// Over TCP.

/// Bytes of a frame's length and number.
const HEADER: usize = 8;

/// Reads one frame whole: its length, its number and its bytes.
fn frame(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut frame = vec![0; HEADER];
    stream.read_exact(&mut frame).ok()?;
    // Above the length stands the frame's kind.
    let length = frame[..4].try_into().map(u32::from_le_bytes).ok()? & 0xff_ffff;
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
    /// The largest length is announced.
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
                Cut::Announced => frame[..3].fill(0xff),
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
