//! A connection between the two parties, with what went over it counted.
//!
//! Sending never waits for the peer to read until [`CAPACITY`](crate::transport::queue::CAPACITY) bytes are under way,
//! so both parties of a symmetric protocol may send first. A round trip is counted where a receive follows a send.
//! Messages are numbered, so a lost, repeated or displaced one is an error at the receiver.

use std::time::{Duration, Instant};

use bytemuck::Pod;

use crate::error::{Error, Result};
use crate::refusal::Refusal;
use crate::transport::queue::{Closer, End, Message, Popper, Pusher};
use crate::transport::{local, recycle};

pub use crate::transport::{CHUNK, DEFAULT_TIMEOUT, MAX_MESSAGE};

/// The last message of either party; not counted and in no transcript.
const FAREWELL: &[u8; 16] = b"blindvox run end";
/// The same where the connection goes on.
const DONE: &[u8; 16] = b"blindvox run fin";

/// Who is who.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Party {
    /// The hospital: holds the scan and the HE secret key, evaluates garbled circuits.
    Client,
    /// The service: holds the model, garbles.
    Server,
}

impl Party {
    /// The other one.
    pub fn peer(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }
}

/// Bytes and round trips.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Bytes sent, framing not included.
    pub sent: u64,
    /// Bytes received.
    pub received: u64,
    /// Receives that followed a send.
    pub rounds: u64,
}

impl std::ops::Sub for Traffic {
    type Output = Self;
    fn sub(self, before: Self) -> Self {
        Self {
            sent: self.sent - before.sent,
            received: self.received - before.received,
            rounds: self.rounds - before.rounds,
        }
    }
}

/// Traffic in all and by phase, in the order the phases were first named.
#[derive(Clone, Debug, Default)]
pub struct Stats {
    /// Everything.
    pub total: Traffic,
    /// Each phase's part.
    pub phases: Vec<(String, Traffic)>,
    /// Receives that found nothing there, with nothing of this party's still under way to its transport: what a link's
    /// latency costs, where `rounds` is what the protocol's order could cost. It depends on how fast the parties are.
    pub waits: u64,
    /// One-way latencies on the longest path of messages to the last one received, by their order alone, however fast the
    /// parties are: what a link's latency costs. Between ends in one process; a wire doesn't carry it.
    pub flights: u32,
}

/// One party's end of the connection.
pub struct Channel {
    out: Pusher,
    inc: Popper,
    /// Numbers of the next message sent and received.
    numbers: [u32; 2],
    timeout: Duration,
    /// How long the peer may still be waited for, in all.
    patience: Duration,
    stats: Stats,
    phase: usize,
    sent_last: bool,
    transcript: Option<blake3::Hasher>,
    binding: [u8; 32],
    /// What only the two ends of a secured connection know.
    exporter: Option<[u8; 32]>,
    /// The connection to another process. After the queues: it is dropped when they are closed.
    #[cfg(feature = "sockets")]
    link: Option<crate::transport::tcp::Link>,
    /// Both ends are in this process.
    local: bool,
}

/// Ends a channel from another thread. Both parties notice it with their next message, whatever is queued.
#[derive(Clone)]
pub struct Canceller {
    queues: [Closer; 2],
}

impl Canceller {
    /// Gives the run up.
    pub fn cancel(&self) {
        self.end(&End::Cancelled);
    }

    /// Ends it with a refusal.
    pub fn refuse(&self, refusal: Refusal) {
        self.end(&End::Refused(refusal));
    }

    /// Whether the peer, or this party, has ended it.
    pub fn has_ended(&self) -> bool {
        self.queues.iter().any(Closer::has_ended)
    }

    fn end(&self, end: &End) {
        self.queues.iter().for_each(|queue| queue.end(end.clone()));
    }
}

/// Two connected ends in one process: the client's and the server's.
pub fn local_pair() -> (Channel, Channel) {
    let (client, server) = local::pair();
    let local = |ends| Channel { local: true, ..Channel::new(ends) };
    (local(client), local(server))
}

impl Channel {
    /// A channel over any transport: what it sends and what it receives.
    pub fn new((out, inc): (Pusher, Popper)) -> Self {
        let stats = Stats {
            total: Traffic::default(),
            phases: vec![("setup".to_owned(), Traffic::default())],
            waits: 0,
            flights: 0,
        };
        Self {
            out,
            inc,
            numbers: [0; 2],
            timeout: DEFAULT_TIMEOUT,
            patience: Duration::MAX,
            stats,
            phase: 0,
            sent_last: false,
            transcript: None,
            binding: [0; 32],
            exporter: None,
            #[cfg(feature = "sockets")]
            link: None,
            local: false,
        }
    }

    /// Whether both ends are in this process, so that bytes cost next to nothing.
    pub fn is_local(&self) -> bool {
        self.local
    }

    /// Gives up on the peer after this long.
    pub fn set_timeout(&mut self, timeout: Duration) {
        self.timeout = timeout;
    }

    /// Binds what is derived from now on to something that both parties have seen alike: sessions of OTs hash
    /// [`Self::binding`], so parties that have not seen it alike get different keys.
    pub fn bind(&mut self, seen: &[u8]) {
        self.binding = *blake3::keyed_hash(&self.binding, seen).as_bytes();
    }

    /// Binds what is derived from now on to the secured connection that carries it, if it is one.
    pub fn bind_connection(&mut self) {
        if let Some(exporter) = self.exporter {
            self.bind(&exporter);
        }
    }

    /// Gives the run up from another thread.
    pub fn canceller(&self) -> Canceller {
        Canceller { queues: [self.out.closer(), self.inc.closer()] }
    }

    /// Ends the connection with a refusal, which is the last that the peer sees of it.
    pub fn refuse(self, refusal: Refusal) {
        self.canceller().refuse(refusal);
    }

    /// A hash of all that the channel was bound to, in order.
    pub fn binding(&self) -> &[u8; 32] {
        &self.binding
    }

    /// Keeps a digest of all that is sent from now on; for tests of reproducibility.
    pub fn record_transcript(&mut self) {
        self.transcript = Some(blake3::Hasher::new());
    }

    /// The digest of what was sent since [`Self::record_transcript`].
    pub fn transcript_digest(&self) -> Option<[u8; 32]> {
        self.transcript.as_ref().map(|h| *h.finalize().as_bytes())
    }

    /// Counts what follows under this name.
    pub fn set_phase(&mut self, name: &str) {
        self.phase = self.stats.phases.iter().position(|(n, _)| n == name).unwrap_or_else(|| {
            self.stats.phases.push((name.to_owned(), Traffic::default()));
            self.stats.phases.len() - 1
        });
    }

    /// What went over the channel so far.
    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    /// Sends one message of at most [`MAX_MESSAGE`] bytes, handing the buffer over.
    pub fn send(&mut self, message: Vec<u8>) -> Result<()> {
        if message.len() > MAX_MESSAGE {
            return Err(Error::protocol(format!(
                "a message of {} bytes, at most {MAX_MESSAGE} are allowed",
                message.len()
            )));
        }
        if let Some(h) = &mut self.transcript {
            h.update(&(message.len() as u32).to_le_bytes());
            h.update(&message);
        }
        let len = message.len() as u64;
        self.put(message)?;
        self.count(|t| t.sent += len);
        self.sent_last = true;
        Ok(())
    }

    /// The next message.
    pub fn recv(&mut self) -> Result<Vec<u8>> {
        self.stats.waits += u64::from(self.inc.is_empty() && self.out.is_empty());
        let message = self.take()?;
        let round = u64::from(std::mem::take(&mut self.sent_last));
        self.count(|t| {
            t.received += message.len() as u64;
            t.rounds += round;
        });
        Ok(message)
    }

    /// Ends a run that went well: returns when the peer has received all that was sent and has itself come to this end.
    /// Both parties call it, after their last message; what they have learnt has no influence on it.
    ///
    /// # Errors
    /// [`Error::Connection`] if the peer went away or stays silent, [`Error::Protocol`] if it sent something else.
    pub fn finish(&mut self) -> Result<()> {
        self.put(FAREWELL.to_vec())?;
        self.out.close("the peer ended the run");
        self.expect(FAREWELL)?;
        self.flush()
    }

    /// Ends a run as [`Self::finish`] does, on a connection that goes on.
    ///
    /// # Errors
    /// Those of [`Self::finish`].
    pub fn pause(&mut self) -> Result<()> {
        self.put(DONE.to_vec())?;
        self.expect(DONE)
    }

    fn expect(&mut self, last: &[u8]) -> Result<()> {
        let message = self.take()?;
        if message == last {
            return Ok(());
        }
        Err(Error::protocol(format!("a message of {} bytes after the last one of the run", message.len())))
    }

    /// Whether the peer still seems to be there, for who waits for something else.
    ///
    /// # Errors
    /// Why it isn't.
    pub fn check(&self) -> Result<()> {
        self.out.check()
    }

    /// Queues a message.
    fn put(&mut self, message: Vec<u8>) -> Result<()> {
        let message = Message { number: self.numbers[0], flight: self.stats.flights, bytes: message };
        self.wait(|channel, timeout| channel.out.push(message, timeout))?;
        self.numbers[0] = self.numbers[0].wrapping_add(1);
        Ok(())
    }

    /// The next message, whatever it is.
    fn take(&mut self) -> Result<Vec<u8>> {
        let Message { number, flight, bytes: message } = self.wait(|channel, timeout| channel.inc.pop(timeout))?;
        self.stats.flights = self.stats.flights.max(flight.saturating_add(1));
        if number != self.numbers[1] {
            let expected = self.numbers[1];
            return Err(Error::protocol(format!("message number {number} where number {expected} was expected")));
        }
        self.numbers[1] = number.wrapping_add(1);
        if message.len() > MAX_MESSAGE {
            return Err(Error::protocol(format!(
                "a message of {} bytes, at most {MAX_MESSAGE} are allowed",
                message.len()
            )));
        }
        Ok(message)
    }

    /// Waits for the peer, no longer than once and in all is allowed.
    fn wait<T>(&mut self, f: impl FnOnce(&Self, Duration) -> Result<T>) -> Result<T> {
        let start = Instant::now();
        let result = f(self, self.timeout.min(self.patience));
        self.patience = self.patience.saturating_sub(start.elapsed());
        match result {
            Err(Error::Connection(_)) if self.patience.is_zero() => {
                Err(Error::Connection("timed out: all waits for the peer together took too long".to_owned()))
            }
            other => other,
        }
    }

    /// The next message, which must be `len` bytes long.
    pub fn recv_exact(&mut self, len: usize) -> Result<Vec<u8>> {
        let message = self.recv()?;
        if message.len() != len {
            return Err(Error::protocol(format!("a message of {} bytes where {len} were expected", message.len())));
        }
        Ok(message)
    }

    /// Sends plain values, little-endian, in messages of at most [`CHUNK`] bytes (none for an empty slice).
    pub fn send_pod<T: Pod>(&mut self, values: &[T]) -> Result<()> {
        values.chunks(per_chunk::<T>()).try_for_each(|c| {
            let mut message = recycle::with_capacity(size_of_val(c));
            message.extend_from_slice(bytemuck::cast_slice(c));
            self.send(message)
        })
    }

    /// Receives `count` plain values as [`Self::send_pod`] sent them.
    pub fn recv_pod<T: Pod>(&mut self, count: usize) -> Result<Vec<T>> {
        let mut values = Vec::new();
        while values.len() < count {
            let items = per_chunk::<T>().min(count - values.len());
            let message = self.recv_exact(items * size_of::<T>())?;
            // One allocation of the whole, but only once the peer has really sent the first part.
            values.reserve_exact(count - values.len());
            values.extend(message.chunks_exact(size_of::<T>()).map(bytemuck::pod_read_unaligned::<T>));
            recycle::give(message);
        }
        Ok(values)
    }

    fn count(&mut self, f: impl Fn(&mut Traffic)) {
        f(&mut self.stats.total);
        f(&mut self.stats.phases[self.phase].1);
    }
}

#[cfg(not(feature = "sockets"))]
impl Channel {
    /// Whether what is sent leaves this process.
    pub fn leaves_process(&self) -> bool {
        false
    }

    fn flush(&self) -> Result<()> {
        Ok(())
    }
}

fn per_chunk<T>() -> usize {
    CHUNK / size_of::<T>()
}

#[cfg(feature = "sockets")]
mod sockets;

#[cfg(test)]
mod tests;
