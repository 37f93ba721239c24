//! For tests: a relay between two parties that spoils a message of one of them.
//!
//! What lengths and counts can tell is an error at the receiver: a message cut short, lengthened, lost, sent twice or
//! overtaken, and a peer that stops or goes away. A late one only takes longer. A changed bit of the right length is
//! not told from a right one in semi-honest protocols (a secured transport does that), but it may neither panic nor
//! hang.

use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::channel::{Channel, MAX_MESSAGE, Party};
use crate::transport::local;
use crate::transport::queue::{Message, Popper, Pusher};

/// A relay waits as long as its parties live.
const FOREVER: Duration = Duration::from_secs(u32::MAX as u64);
/// How late [`Fault::Late`] is.
const DELAY: Duration = Duration::from_millis(30);

/// What happens to a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Its last byte is missing.
    Short,
    /// A byte follows its last.
    Long,
    /// It is longer than any message may be.
    Oversized,
    /// It never arrives, and the connection stays.
    Lost,
    /// It arrives again.
    Twice,
    /// The next one arrives before it.
    Swapped,
    /// One bit is turned: bit `bit` modulo the message's own.
    Turned {
        /// Counted from the least significant bit of the first byte.
        bit: usize,
    },
    /// Bits of every seventh byte are turned.
    Scrambled,
    /// It takes longer.
    Late,
    /// Neither it nor anything after it arrives, until the receiver gives up.
    Stopped,
    /// The connection ends before it.
    Closed,
}

impl Fault {
    /// Every kind, one bit turned at `bit`.
    pub fn all(bit: usize) -> [Self; 11] {
        use Fault::*;
        [Short, Long, Oversized, Lost, Twice, Swapped, Turned { bit }, Scrambled, Late, Stopped, Closed]
    }

    /// Whether the receiver can only notice it by waiting in vain.
    pub fn is_silence(self) -> bool {
        matches!(self, Self::Lost | Self::Swapped | Self::Stopped)
    }
}

/// The fault of one message.
#[derive(Clone, Copy, Debug)]
pub struct Harm {
    /// Who sends it.
    pub from: Party,
    /// How many messages of this party pass before it, from the moment at which the harm is planned.
    pub pass: usize,
    /// What happens.
    pub fault: Fault,
}

/// Hands messages on between two parties, all but one unharmed.
pub struct Relay {
    plan: Arc<Mutex<Option<Harm>>>,
    directions: [JoinHandle<Vec<usize>>; 2],
}

impl Relay {
    /// The client's and the server's ends, with the relay between them; `harm` may be planned at once.
    pub fn between(harm: Option<Harm>) -> (Self, Channel, Channel) {
        let (client, to_client) = local::pair();
        let (to_server, server) = local::pair();
        let plan = Arc::new(Mutex::new(harm));
        let start = |from, inc: Popper, out: Pusher| {
            let plan = plan.clone();
            thread::spawn(move || forward(from, &inc, &out, &plan))
        };
        let directions =
            [start(Party::Client, to_client.1, to_server.0), start(Party::Server, to_server.1, to_client.0)];
        (Self { plan, directions }, Channel::new(client), Channel::new(server))
    }

    /// Plans the fault of one of the messages from now on.
    pub fn plan(&self, harm: Harm) {
        *self.plan.lock().expect("no thread panicked with it") = Some(harm);
    }

    /// The lengths of all messages that client and server sent, once both are gone.
    pub fn lengths(self) -> [Vec<usize>; 2] {
        self.directions.map(|direction| direction.join().expect("a relay doesn't panic"))
    }
}

/// What is due for the next message of `from`.
fn due(plan: &Mutex<Option<Harm>>, from: Party) -> Option<Fault> {
    let mut plan = plan.lock().expect("no thread panicked with it");
    let harm = plan.as_mut().filter(|harm| harm.from == from)?;
    if harm.pass > 0 {
        harm.pass -= 1;
        return None;
    }
    plan.take().map(|harm| harm.fault)
}

/// Hands the messages of `from` on until either end is gone; their lengths as they were sent.
fn forward(from: Party, inc: &Popper, out: &Pusher, plan: &Mutex<Option<Harm>>) -> Vec<usize> {
    let (mut lengths, mut held) = (Vec::new(), None);
    while let Ok(message) = inc.pop(FOREVER) {
        lengths.push(message.bytes.len());
        let Some(mut deliver) = apply(due(plan, from), message, inc, &mut held) else { break };
        if !deliver.is_empty() {
            deliver.extend(held.take());
        }
        if deliver.into_iter().any(|message| out.push(message, FOREVER).is_err()) {
            break;
        }
    }
    lengths
}

/// What is delivered in the place of a message; none where the connection ends.
fn apply(fault: Option<Fault>, mut message: Message, inc: &Popper, held: &mut Option<Message>) -> Option<Vec<Message>> {
    let bytes = &mut message.bytes;
    match fault {
        None => {}
        Some(Fault::Short) => drop(bytes.pop()),
        Some(Fault::Long) => bytes.push(0),
        Some(Fault::Oversized) => bytes.resize(MAX_MESSAGE + 1, 0),
        Some(Fault::Lost) => return Some(vec![]),
        Some(Fault::Twice) => return Some(vec![message.clone(), message]),
        Some(Fault::Swapped) => {
            *held = Some(message);
            return Some(vec![]);
        }
        Some(Fault::Turned { bit }) => {
            let at = bit % (8 * bytes.len()).max(1);
            bytes.iter_mut().skip(at / 8).take(1).for_each(|b| *b ^= 1 << (at % 8));
        }
        Some(Fault::Scrambled) => bytes.iter_mut().step_by(7).for_each(|b| *b ^= 0x81),
        Some(Fault::Late) => thread::sleep(DELAY),
        Some(Fault::Stopped) => {
            while inc.pop(FOREVER).is_ok() {}
            return None;
        }
        Some(Fault::Closed) => return None,
    }
    Some(vec![message])
}

/// The client's and the server's ends of an emulated link: every byte takes its time at so many bits a second each way,
/// and arrives `latency` after it has left. A sender is never held up by more than the queues hold.
pub fn link(bits_per_second: f64, latency: Duration) -> (Channel, Channel) {
    let (client, to_client) = local::pair();
    let (to_server, server) = local::pair();
    let carry = |inc: Popper, out: Pusher| {
        let (leave, arrive) = std::sync::mpsc::channel::<(Instant, Message)>();
        thread::spawn(move || {
            let mut free = Instant::now();
            while let Ok(message) = inc.pop(FOREVER) {
                let seconds = message.bytes.len() as f64 * 8.0 / bits_per_second;
                free = free.max(Instant::now()) + Duration::from_secs_f64(seconds);
                // What is being sent is still in the sender's hands.
                thread::sleep(free.saturating_duration_since(Instant::now()));
                if leave.send((free + latency, message)).is_err() {
                    break;
                }
            }
        });
        thread::spawn(move || {
            for (due, message) in arrive {
                thread::sleep(due.saturating_duration_since(Instant::now()));
                if out.push(message, FOREVER).is_err() {
                    break;
                }
            }
        });
    };
    carry(to_client.1, to_server.0);
    carry(to_server.1, to_client.0);
    (Channel::new(client), Channel::new(server))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;

    /// Three messages of the client, the second of them harmed; what the server makes of them.
    fn received(fault: Fault) -> (Vec<Vec<u8>>, Option<Error>) {
        let (relay, mut client, mut server) = Relay::between(Some(Harm { from: Party::Client, pass: 1, fault }));
        let sender = thread::spawn(move || {
            (1..4u8).try_for_each(|i| client.send(vec![i; 20])).ok();
            // Stays until the server has seen all, as a party of a protocol does.
            client.set_timeout(Duration::from_secs(60));
            client.recv().is_ok()
        });
        server.set_timeout(if fault.is_silence() { Duration::from_millis(200) } else { FOREVER });
        let (mut messages, mut error) = (Vec::new(), None);
        while messages.len() < 3 && error.is_none() {
            match server.recv() {
                Ok(message) => messages.push(message),
                Err(e) => error = Some(e),
            }
        }
        drop(server);
        sender.join().expect("no panic");
        let [sent, _] = relay.lengths();
        assert!(sent.len() <= 3 && sent.iter().all(|&len| len == 20), "{fault:?}: {sent:?}");
        (messages, error)
    }

    #[test]
    fn a_link_delays_and_carries_in_order() {
        let start = Instant::now();
        // 100 kB at 8 Mbit/s: a tenth of a second, and the way there and back.
        let (mut client, mut server) = link(8e6, Duration::from_millis(20));
        for i in 0..10u8 {
            client.send(vec![i; 10_000]).unwrap();
        }
        for i in 0..10u8 {
            assert_eq!(server.recv().unwrap(), vec![i; 10_000]);
        }
        server.send(vec![1]).unwrap();
        client.recv().unwrap();
        assert!(start.elapsed() >= Duration::from_millis(140), "{:?}", start.elapsed());
        drop(client);
        assert!(server.recv().is_err());
    }

    #[test]
    fn each_fault_does_what_its_name_says() {
        for fault in Fault::all(13) {
            let (messages, error) = received(fault);
            let (whole, what) = (vec![vec![1; 20], vec![2; 20], vec![3; 20]], format!("{fault:?}: {error:?}"));
            match fault {
                Fault::Short | Fault::Long | Fault::Turned { .. } | Fault::Scrambled => {
                    assert!(error.is_none() && messages.len() == 3 && messages[1] != whole[1], "{what}");
                    assert_eq!((&messages[0], &messages[2]), (&whole[0], &whole[2]), "{what}");
                }
                Fault::Late => assert!(error.is_none() && messages == whole, "{what}"),
                // The channel itself tells these.
                Fault::Oversized | Fault::Lost | Fault::Swapped | Fault::Stopped | Fault::Closed => {
                    assert!(error.is_some() && messages == whole[..1], "{what}");
                }
                Fault::Twice => assert!(error.is_some() && messages == whole[..2], "{what}"),
            }
        }
        assert_eq!(received(Fault::Turned { bit: 13 }).0[1][1], 2 ^ 1 << 5);
    }
}
