//! What is wrong is refused in a line that says whose it is, and the aggregator goes on.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use crate::common::{Cast, Moves, Stage, alone, identity, signer};
use blindvox_engine::{Device, Prng};
use blindvox_federated::Error;
use blindvox_federated::member::Member;
use blindvox_federated::message::Kind;
use blindvox_federated::net::caller::Caller;
use blindvox_federated::net::way::Way;
use blindvox_federated::net::wire::{self, Hello, Reply, Request};
use blindvox_federated::roster::Roster;
use blindvox_federated::round::Means;
use blindvox_federated::store::Memory;
use blindvox_net::Channel;
use blindvox_net::identity::{Identity, Pin, Trust};
use blindvox_net::transport::tcp::Limits;
use blindvox_net::transport::tls;

/// A connection to the aggregator before any word.
fn call(roster: &Roster, identity: &Identity, address: SocketAddr) -> Channel {
    let trust = Trust::Pin(Pin::of_ed25519(&roster.aggregator.key.0));
    let client = tls::Client::new(identity, &trust).unwrap();
    let secured = client.meet(TcpStream::connect(address).unwrap(), Duration::from_secs(5)).unwrap();
    Channel::tls(secured, Limits::between_hosts()).unwrap()
}

fn refusal(channel: &mut Channel) -> String {
    channel.set_timeout(Duration::from_secs(10));
    loop {
        match channel.recv() {
            Ok(_) => {}
            Err(e) => return e.to_string(),
        }
    }
}

/// Noise of all lengths where each word of the conversation is expected, and what no member may say.
#[test]
fn hostile_bytes_and_strangers_are_refused_and_the_run_goes_on() {
    let _alone = alone();
    let stage = Stage::new(Cast::new(3, false), 1);
    let stranger = identity("stranger");
    let (models, ended) = stage.run(|address| {
        let (roster, own) = (&stage.cast.roster, &stage.cast.identities[1]);
        let hello = Hello { version: wire::VERSION, federation: roster.id() };
        assert!(refusal(&mut call(roster, &stranger, address)).contains("is not in the federation's roster"));
        for (hello, what) in [
            (Hello { federation: [0; 32], ..hello.clone() }, "h0 has another federation.toml"),
            (Hello { version: 7, ..hello.clone() }, "h0 speaks version 7, expected 1"),
        ] {
            let mut channel = call(roster, own, address);
            wire::say(&mut channel, &hello).unwrap();
            let said = refusal(&mut channel);
            assert!(said.contains(what), "{said}");
        }
        let mut prng = Prng::from_seed_for_tests([6; 32]);
        for len in [0, 1, 5, 40, 3000, 100_000] {
            for greeted in [false, true] {
                let mut channel = call(roster, own, address);
                if greeted {
                    wire::say(&mut channel, &hello).unwrap();
                    assert_eq!(wire::hear::<Reply>(&mut channel).unwrap(), Reply::Welcome { rounds: 1 });
                }
                let mut noise = vec![0; len];
                prng.fill_bytes(&mut noise);
                noise.iter_mut().take(1).for_each(|b| *b |= 0x40);
                channel.send(noise).unwrap();
                let said = refusal(&mut channel);
                assert!(said.contains("h0: ") && said.contains("neither a question nor an answer"), "{said}");
            }
        }
        let mut channel = call(roster, own, address);
        wire::say(&mut channel, &hello).unwrap();
        let _: Reply = wire::hear(&mut channel).unwrap();
        // Noise as messages is answered, and the conversation goes on.
        for kind in [Kind::Ready, Kind::Plan, Kind::Upload, Kind::Close, Kind::Answer, Kind::Result, Kind::Receipt] {
            wire::say(&mut channel, &Request::Put { kind, len: 500 }).unwrap();
            wire::send(&mut channel, &[7; 500]).unwrap();
            let reply: Reply = wire::hear(&mut channel).unwrap();
            assert!(matches!(reply, Reply::Refused(_)), "{reply:?}");
        }
        // More than any message has is not waited for.
        wire::say(&mut channel, &Request::Put { kind: Kind::Upload, len: 1 << 40 }).unwrap();
        let said = refusal(&mut channel);
        assert!(said.contains("h0: 1099511627776 bytes are announced"), "{said}");
        address
    });
    ended.unwrap();
    models.into_iter().for_each(|model| drop(model.unwrap()));
}

/// An aggregator that says what it may not: an error at the member, and nothing is taken.
#[test]
fn a_member_holds_the_aggregator_to_the_round() {
    let _alone = alone();
    let cast = Cast::new(3, false);
    for (reply, bytes, what) in [
        (Reply::Upload { place: (1, 1), len: 1 << 60 }, vec![], "bytes are announced"),
        (Reply::Upload { place: (1, 1), len: 3 }, vec![1; 3], "3 bytes are no message"),
        (Reply::Open { len: 1 << 30 }, vec![], "bytes are announced"),
        (Reply::Taken, vec![], "an answer that was not asked for: Taken"),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (roster, own) = (&cast.roster, &cast.identities[1]);
        let server = tls::Server::new(&cast.identities[0], None).unwrap();
        thread::scope(|scope| {
            scope.spawn(|| {
                let secured = server.meet(listener.accept().unwrap().0, Duration::from_secs(5)).unwrap();
                let mut channel = Channel::tls(secured, Limits::between_hosts()).unwrap();
                let _: Hello = wire::hear(&mut channel).unwrap();
                wire::say(&mut channel, &Reply::Welcome { rounds: 1 }).unwrap();
                let _: Request = wire::hear(&mut channel).unwrap();
                wire::say(&mut channel, &reply).unwrap();
                wire::send(&mut channel, &bytes).unwrap();
                let _ = channel.recv();
            });
            let means = Means::new(&Device::cpu());
            let store = || Box::new(Memory::default());
            let prng = Prng::from_seed_for_tests([1; 32]);
            let member = Member::open(roster, signer(own), store(), &means, prng).unwrap();
            let way = Way::new(roster, own, &address, Duration::ZERO).unwrap();
            let error = Caller::new(member, store(), way, &|_| ()).run(&mut Moves(0)).unwrap_err();
            assert!(error.to_string().contains(what), "{error}");
        });
    }
}

/// The run ends with one line that names who is missing, for the aggregator and for those who are there.
#[test]
fn too_few_end_the_run_and_are_named() {
    let _alone = alone();
    let timeout = Duration::from_secs(3);
    let stage = Stage { timeout, present: vec![0, 2], ..Stage::new(Cast::new(3, false), 1) };
    let (models, ended) = stage.run(|address| address);
    let error = ended.unwrap_err().to_string();
    assert!(error.starts_with("round 1: 2 members take part, expected 3 at least"), "{error}");
    assert!(error.ends_with("missing: h1"), "{error}");
    for model in models {
        let Err(Error::Net(blindvox_net::Error::Refused(refusal))) = model else { panic!("{model:?}") };
        assert!(refusal.text.contains("the run has ended: round 1") && refusal.text.contains("h1"), "{refusal:?}");
    }
}
