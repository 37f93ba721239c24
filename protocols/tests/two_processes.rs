//! A run between two processes that end as soon as they are done: what a party sent last arrives all the same.
//!
//! The test starts itself once for each party; a relay between them delays what passes, so that a process is long gone
//! when its last bytes arrive.

use blindvox_models::testing as common;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::{Child, Command};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use blindvox_engine::Device;
use blindvox_net::channel::Channel;
use blindvox_protocols::infer::{Client, Options, Server};

/// Names the party that a process is to play: `server`, `client`, or `sender` and `receiver` of a few messages.
const PARTY: &str = "TWO_PROCESSES_PARTY";
/// Where it connects to.
const ADDRESS: &str = "TWO_PROCESSES_ADDRESS";

/// The largest messages that `sender` sends, bytes.
const LARGE: usize = 1 << 20;

/// Not a test of its own: what the processes do that the tests start.
#[test]
fn one_party() {
    let (Ok(party), Ok(address)) = (std::env::var(PARTY), std::env::var(ADDRESS)) else { return };
    let mut channel = Channel::tcp(TcpStream::connect(address).expect("a connection")).expect("a channel");
    match &*party {
        "sender" => {
            channel.recv_exact(1).expect("a message");
            [LARGE, 0, 5].into_iter().for_each(|len| channel.send(vec![3; len]).expect("room"));
            channel.finish().expect("an end");
        }
        "receiver" => {
            channel.send(vec![1]).expect("room");
            [LARGE, 0, 5].into_iter().for_each(|len| drop(channel.recv_exact(len).expect("a message")));
            channel.finish().expect("an end");
        }
        party => {
            let (program, input) = common::tiny().program();
            let options = Options::new(Device::cpu());
            if party == "server" {
                Server::new(Arc::new(program), options).serve(channel).expect("a run");
            } else {
                let client = Client::connect(channel, options).expect("a service");
                assert_eq!(*client.program(), program.public_view(), "all but the weights");
                assert_eq!(client.run(&input, &mut ()).expect("a run").labels.expect("labels").len(), 512);
            }
        }
    }
    // At once: no destructor of this process helps.
    std::process::exit(0);
}

fn start(party: &str, address: &str) -> Child {
    let mut program = Command::new(std::env::current_exe().expect("this test"));
    program.args(["--exact", "one_party", "--nocapture"]).env(PARTY, party).env(ADDRESS, address);
    program.stdout(std::process::Stdio::null()).spawn().expect("a process")
}

/// Passes bytes on late and, where they are few, piece by piece.
fn relay(mut from: TcpStream, mut to: TcpStream) {
    let mut piece = vec![0; 64 << 10];
    while let Ok(len @ 1..) = from.read(&mut piece) {
        if len < piece.len() {
            thread::sleep(Duration::from_millis(2));
        }
        if to.write_all(&piece[..len]).is_err() {
            break;
        }
    }
    let _ = (to.shutdown(Shutdown::Write), from.shutdown(Shutdown::Read));
}

/// Both parties' processes, joined by a relay; whether each ended well.
fn run(parties: [&str; 2]) -> [bool; 2] {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    let mut processes = parties.map(|party| start(party, &address));
    let [a, b] = [(); 2].map(|()| listener.accept().expect("a connection").0);
    let again = |s: &TcpStream| s.try_clone().expect("a socket");
    let (a2, b2) = (again(&a), again(&b));
    let ways = [thread::spawn(move || relay(a, b)), thread::spawn(move || relay(b2, a2))];
    let ended = [0, 1].map(|i| processes[i].wait().expect("an end").success());
    ways.into_iter().for_each(|way| way.join().expect("a relay"));
    ended
}

#[test]
fn the_last_message_arrives_though_its_sender_is_gone() {
    let well = (0..50).filter(|_| run(["sender", "receiver"]) == [true; 2]).count();
    assert_eq!(well, 50);
}

#[test]
fn a_run_ends_well_in_both_processes() {
    let well = (0..6).filter(|_| run(["server", "client"]) == [true; 2]).count();
    assert_eq!(well, 6);
}
