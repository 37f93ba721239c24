//! Channels of both kinds: what they carry, count and refuse.

use std::net::{TcpListener, TcpStream};

use super::*;

fn exchange(mut client: Channel, mut server: Channel) {
    let values: Vec<u32> = (0..(CHUNK as u32 / 4) + 3).collect();
    let sent = values.clone();
    let there = std::thread::spawn(move || {
        client.set_phase("bulk");
        client.send_pod(&sent).unwrap();
        let back = client.recv_exact(2).unwrap();
        // Neither counted nor in the transcript.
        client.record_transcript();
        let empty = client.transcript_digest();
        client.finish().unwrap();
        assert_eq!(client.transcript_digest(), empty);
        (back, client.stats().clone())
    });
    assert_eq!(server.recv_pod::<u32>(values.len()).unwrap(), values);
    server.send(vec![7, 8]).unwrap();
    server.finish().unwrap();
    let (back, stats) = there.join().unwrap();
    assert_eq!(back, [7, 8]);
    let expected = Traffic { sent: values.len() as u64 * 4, received: 2, rounds: 1 };
    assert_eq!(stats.total, expected);
    assert_eq!(stats.phases[1], ("bulk".to_owned(), expected));
}

#[test]
fn carries_and_counts_locally() {
    let (client, server) = local_pair();
    exchange(client, server);
}

#[test]
fn carries_and_counts_over_tcp() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let server = listener.accept().unwrap().0;
    exchange(Channel::tcp(client).unwrap(), Channel::tcp(server).unwrap());
}

#[test]
fn a_wrong_length_and_a_lost_peer_are_errors() {
    let (mut client, mut server) = local_pair();
    client.send(vec![0; 3]).unwrap();
    assert!(matches!(server.recv_exact(4), Err(Error::Protocol(_))));
    drop(client);
    assert!(matches!(server.recv(), Err(Error::Connection(_))));
    assert!(matches!(server.send(vec![1]), Err(Error::Connection(_))));
}

#[test]
fn a_run_ends_well_only_if_the_peer_ends_it_too() {
    let end = |act: fn(&mut Channel)| {
        let (mut client, mut server) = local_pair();
        server.set_timeout(Duration::from_millis(10));
        act(&mut client);
        server.finish()
    };
    let end_dropped = |act: fn(&mut Channel)| {
        let (mut client, mut server) = local_pair();
        act(&mut client);
        drop(client);
        server.finish()
    };
    assert!(matches!(end_dropped(|_| ()), Err(Error::Connection(_))));
    assert!(matches!(end_dropped(|c| c.send(vec![1]).unwrap()), Err(Error::Connection(_))));
    assert!(matches!(end(|c| c.send(vec![1]).unwrap()), Err(Error::Protocol(_))));
    assert!(end(|_| ()).unwrap_err().to_string().contains("timed out"));
    // Who still sends after the end finds it closed.
    let (mut client, mut server) = local_pair();
    server.set_timeout(Duration::from_millis(10));
    assert!(server.finish().is_err());
    assert!(matches!(client.recv_exact(1), Err(Error::Protocol(_))));
    assert!(server.send(vec![1]).unwrap_err().to_string().contains("ended the run"));
}

#[test]
fn a_receive_waits_where_nothing_is_there() {
    let (mut client, mut server) = local_pair();
    for _ in 0..3 {
        server.send(vec![1]).unwrap();
    }
    (0..3).for_each(|_| drop(client.recv().unwrap()));
    assert_eq!(client.stats().waits, 0);
    let there = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(30));
        server.send(vec![2]).unwrap();
        server
    });
    client.recv().unwrap();
    assert_eq!((client.stats().waits, client.stats().total.rounds), (1, 0));
    there.join().unwrap();
}

#[test]
fn a_silent_peer_times_out() {
    let (_client, mut server) = local_pair();
    server.set_timeout(Duration::from_millis(10));
    assert!(server.recv().unwrap_err().to_string().contains("timed out"));
}
