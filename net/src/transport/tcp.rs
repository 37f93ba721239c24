//! Frames over a socket. One thread reads and one writes, so that a protocol thread only ever waits on its queues. Both end
//! with the channel: its [`Link`] sees to that. What lies between frames and the socket is a `Wire`.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::frame::{Frame, Kind, header, read_frame};
use super::pace::Pace;
use super::queue::{Closer, End, Next, Popper, Pusher, queue};
use super::{DEFAULT_TIMEOUT, recycle};
use crate::error::{Error, Result};

/// How long the end of a connection is held open for the peer to see it.
const LINGER: Duration = Duration::from_secs(1);
/// Queues of threads that wait as long as the channel lives.
const FOREVER: Duration = Duration::from_secs(u32::MAX as u64);

/// What a peer is allowed.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// How long it is waited for at a time: to send a message, or to make room for one.
    pub wait: Duration,
    /// How long it is waited for in all, over the channel's life.
    pub total: Duration,
    /// How many bytes a second it must read at least while there are any, averaged over `window`.
    pub rate: u64,
    /// How long it may stop reading.
    pub window: Duration,
    /// How long it may go on reading what was sent before the channel was dropped. Dropping waits no longer.
    pub grace: Duration,
    /// How long nothing at all may come of it, not even a keep-alive.
    pub silence: Duration,
    /// After how long a silence of this party's own it sends one.
    pub keep_alive: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            wait: DEFAULT_TIMEOUT,
            total: Duration::from_secs(3600),
            rate: 64 << 10,
            window: DEFAULT_TIMEOUT,
            grace: Duration::from_secs(5),
            silence: Duration::from_secs(60),
            keep_alive: Duration::from_secs(15),
        }
    }
}

impl Limits {
    /// Between hosts: a peer may compute as long as it shows signs of life, for a day in all.
    pub fn between_hosts() -> Self {
        let day = Duration::from_secs(24 * 3600);
        Self { wait: day, total: day, ..Self::default() }
    }
}

/// What makes bytes of frames into bytes of the socket.
pub(crate) trait Seal: Send {
    /// Appends the sealed form of `parts`, and of whatever else is due, to `out`.
    fn seal(&mut self, parts: [&[u8]; 2], out: &mut Vec<u8>) -> std::result::Result<(), String>;
    /// Appends the last that the peer should see.
    fn close(&mut self, out: &mut Vec<u8>);
}

/// Both directions between frames and a socket.
pub(crate) struct Wire {
    /// The frames' bytes as they came.
    pub(crate) opened: Box<dyn Read + Send>,
    /// None: they are sent as they are.
    pub(crate) seal: Option<Box<dyn Seal>>,
}

#[cfg(any(test, feature = "testing"))]
impl Wire {
    /// Nothing between.
    pub(crate) fn plain(stream: &TcpStream) -> std::io::Result<Self> {
        Ok(Self { opened: Box::new(stream.try_clone()?), seal: None })
    }
}

/// What the threads and the channel know of each other.
#[derive(Default)]
struct State {
    /// When the writer gives up, once the channel is dropped.
    deadline: Option<Instant>,
    /// How the writer ended.
    written: Option<std::result::Result<(), String>>,
    /// Whether the peer's end was seen.
    read: bool,
    /// Nobody waits for the peer's end any more.
    gone: bool,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|e| e.into_inner())
    }

    fn past_deadline(&self) -> bool {
        self.lock().deadline.is_some_and(|d| Instant::now() >= d)
    }

    /// Waits until the peer's end was seen, at most so long.
    fn seen_end(&self, timeout: Duration) {
        drop(self.changed.wait_timeout_while(self.lock(), timeout, |state| !state.read));
    }

    /// Waits until the writer has ended, at most so long.
    fn written(&self, timeout: Duration) -> Option<std::result::Result<(), String>> {
        let waiting = |state: &mut State| state.written.is_none();
        let waited = self.changed.wait_timeout_while(self.lock(), timeout, waiting);
        waited.unwrap_or_else(|e| e.into_inner()).0.written.clone()
    }
}

/// A channel's hold on its connection. Dropping it ends the connection and its threads, after [`Limits::grace`] at
/// most.
pub struct Link {
    stream: TcpStream,
    shared: Arc<Shared>,
    grace: Duration,
    out: Closer,
    inc: Closer,
    threads: Vec<JoinHandle<()>>,
}

impl Link {
    /// Waits until the system has taken all that was sent before the queue was closed.
    ///
    /// # Errors
    /// [`Error::Connection`].
    pub fn flush(&self, timeout: Duration) -> Result<()> {
        match self.shared.written(timeout) {
            Some(Ok(())) => Ok(()),
            Some(Err(why)) => Err(Error::Connection(why)),
            None => Err(Error::Connection("timed out: the peer stopped reading".to_owned())),
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        let why = "the channel was dropped";
        self.shared.lock().deadline = Some(Instant::now() + self.grace);
        self.out.close(why);
        // What was sent last, be it a reason to end the run, arrives even if this process ends now.
        self.shared.written(self.grace);
        self.inc.close(why);
        // A socket that is closed while bytes of the peer's lie unread there resets the connection, and the peer may lose
        // what it has not read yet: first it is left to see the end.
        let _ = self.stream.shutdown(Shutdown::Write);
        self.shared.seen_end(LINGER.min(self.grace));
        self.shared.lock().gone = true;
        let _ = self.stream.shutdown(Shutdown::Both);
        // Elsewhere a thread may be woken by the peer's end alone.
        if cfg!(unix) {
            self.threads.drain(..).for_each(|thread| drop(thread.join()));
        }
    }
}

/// Puts a connected socket behind a pair of queues.
///
/// # Errors
/// [`Error::Connection`] for a socket that is broken, [`Error::Thread`].
pub(crate) fn connect(stream: TcpStream, wire: Wire, limits: Limits) -> Result<((Pusher, Popper), Link)> {
    let refused = |e: std::io::Error| Error::Connection(e.to_string());
    stream.set_nodelay(true).map_err(refused)?;
    // The writer looks this often whether its peer is too slow, or the channel gone.
    let tick = (limits.window.min(limits.grace) / 8).clamp(Duration::from_millis(1), Duration::from_millis(250));
    stream.set_write_timeout(Some(tick)).map_err(refused)?;
    stream.set_read_timeout(Some(limits.silence)).map_err(refused)?;
    let writer = stream.try_clone().map_err(refused)?;
    let (out_push, out_pop) = queue();
    let (in_push, in_pop) = queue();
    let shared = Arc::new(Shared::default());
    let pace = Pace::new(limits.rate, limits.window);
    let done = Err("the writer was never started".to_owned());
    let (out, inc) = (out_push.closer(), in_push.closer());
    let mut link =
        Link { stream, shared: shared.clone(), grace: limits.grace, out: out.clone(), inc, threads: Vec::new() };
    let writer = Writer {
        stream: writer,
        seal: wire.seal,
        shared: shared.clone(),
        pace,
        keep_alive: limits.keep_alive,
        closer: in_push.closer(),
        done,
    };
    let start = |run: Box<dyn FnOnce() + Send>| {
        thread::Builder::new().spawn(run).map_err(|source| Error::Thread { what: "a connection", source })
    };
    link.threads.push(start(Box::new(move || writer.run(&out_pop)))?);
    let mut opened = wire.opened;
    link.threads.push(start(Box::new(move || {
        read_frames(&mut opened, &in_push, &out, &shared);
        shared.lock().read = true;
        shared.changed.notify_all();
    }))?);
    Ok(((out_push, in_pop), link))
}

struct Writer {
    stream: TcpStream,
    seal: Option<Box<dyn Seal>>,
    shared: Arc<Shared>,
    pace: Pace,
    keep_alive: Duration,
    closer: Closer,
    /// Told when the writer is dropped, be it before its thread starts.
    done: std::result::Result<(), String>,
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.shared.lock().written = Some(self.done.clone());
        self.shared.changed.notify_all();
    }
}

impl Writer {
    fn run(mut self, queue: &Popper) {
        let mut ended = false;
        while !ended {
            let last;
            (self.done, last) = match queue.next(self.keep_alive) {
                Next::Message(message) => {
                    let done = self.frame(Kind::Data, message.number, &message.bytes);
                    recycle::give(message.bytes);
                    (done, false)
                }
                Next::Nothing => (self.frame(Kind::KeepAlive, 0, &[]), false),
                Next::End(End::Closed(_)) => (Ok(()), true),
                Next::End(End::Cancelled) => (self.frame(Kind::Cancel, 0, &[]), true),
                Next::End(End::Refused(refusal)) => (self.frame(Kind::Refusal, 0, &refusal.to_bytes()), true),
            };
            ended = last || self.done.is_err();
        }
        if self.done.is_ok() {
            self.done = self.farewell();
        }
        // A broken connection ends the reading half too. A whole one is ended by the link alone, both halves together:
        // not everything between two parties passes on one half after the end of the other.
        if let Err(why) = &self.done {
            queue.close(why);
            let _ = self.stream.shutdown(Shutdown::Both);
        }
    }

    fn frame(&mut self, kind: Kind, number: u32, bytes: &[u8]) -> std::result::Result<(), String> {
        let header = header(kind, number, bytes.len());
        let Some(seal) = &mut self.seal else {
            return self.write(&header).and_then(|()| self.write(bytes));
        };
        // A record is some tens of bytes longer than what it holds.
        let mut sealed = recycle::with_capacity(bytes.len() + bytes.len() / 256 + 4096);
        seal.seal([&header, bytes], &mut sealed)?;
        let done = self.write(&sealed);
        recycle::give(sealed);
        done
    }

    fn farewell(&mut self) -> std::result::Result<(), String> {
        let Some(seal) = &mut self.seal else { return Ok(()) };
        let mut sealed = Vec::new();
        seal.close(&mut sealed);
        self.write(&sealed)
    }

    fn write(&mut self, mut bytes: &[u8]) -> std::result::Result<(), String> {
        while !bytes.is_empty() {
            if self.shared.past_deadline() {
                return Err("the channel was dropped before the peer had read all".to_owned());
            }
            let start = Instant::now();
            let taken = match self.stream.write(bytes) {
                Ok(0) => return Err("the connection takes no more bytes".to_owned()),
                Ok(taken) => taken,
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted) => 0,
                Err(e) => return Err(e.to_string()),
            };
            bytes = &bytes[taken..];
            if !self.pace.count(start.elapsed(), taken) {
                let why = "timed out: the peer reads too slowly".to_owned();
                self.closer.close(&why);
                return Err(why);
            }
        }
        Ok(())
    }
}

/// Hands frames on until the stream ends. Where nobody takes them any more they are read all the same, until the link is
/// dropped: a socket is only closed in peace once it was read to its end.
fn read_frames(stream: &mut impl Read, queue: &Pusher, out: &Closer, shared: &Shared) {
    let mut heard = true;
    let why = loop {
        match read_frame(stream) {
            Ok(Frame::Message(message)) if heard => heard = queue.push(message, FOREVER).is_ok(),
            Ok(Frame::End(end)) => {
                queue.end(end.clone());
                out.end(end);
                heard = false;
            }
            Ok(_) if heard || !shared.lock().gone => {}
            Ok(_) => break "closed".to_owned(),
            Err(why) => break why,
        }
    };
    queue.close(&why);
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;
    use crate::channel::{CHUNK, Channel};
    use crate::refusal::{Code, Refusal};

    /// A channel with these limits, and its peer's socket.
    fn channel(limits: Limits) -> (Channel, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (Channel::tcp_with(listener.accept().unwrap().0, limits).unwrap(), peer)
    }

    /// Sends more than the system takes on a connection that nobody reads, unless the peer is given up before.
    fn fill(channel: &mut Channel) {
        let _ = (0..8).try_for_each(|_| channel.send(vec![1; CHUNK]));
    }

    const SHORT: Duration = Duration::from_millis(40);

    #[test]
    fn a_peer_that_reads_too_slowly_is_given_up() {
        let (mut channel, mut peer) = channel(Limits { rate: 1 << 40, window: SHORT, ..Limits::default() });
        fill(&mut channel);
        // A byte now and then is no excuse.
        let trickle = thread::spawn(move || {
            while peer.read(&mut [0]).is_ok_and(|n| n > 0) {
                thread::sleep(SHORT / 8);
            }
        });
        assert!(channel.recv().unwrap_err().to_string().contains("reads too slowly"));
        // The threads have ended when this returns.
        drop(channel);
        drop(trickle);
    }

    #[test]
    fn threads_end_soon_after_the_channel_whatever_the_peer_does() {
        // Joined with: a thread that goes on would keep this test from ending.
        let (mut unread, _peer) = channel(Limits { grace: SHORT, ..Limits::default() });
        fill(&mut unread);
        drop(unread);
        // The peer sends more than the queue takes, and nothing is received.
        let (unheard, mut peer) = channel(Limits { grace: SHORT, ..Limits::default() });
        let flood = thread::spawn(move || {
            let frame = [&(CHUNK as u64).to_le_bytes()[..], &vec![0; CHUNK]].concat();
            while peer.write_all(&frame).is_ok() {}
        });
        thread::sleep(SHORT);
        drop(unheard);
        flood.join().unwrap();
    }

    #[test]
    fn what_was_sent_before_the_drop_arrives() {
        let (mut channel, mut peer) = channel(Limits::default());
        channel.send(vec![7; CHUNK]).unwrap();
        let reader = thread::spawn(move || {
            let mut all = Vec::new();
            peer.read_to_end(&mut all).map(|_| all.len())
        });
        drop(channel);
        assert_eq!(reader.join().unwrap().unwrap(), 8 + CHUNK);
    }

    #[test]
    fn waits_are_counted_together() {
        let (mut channel, mut peer) = channel(Limits { total: 4 * SHORT, ..Limits::default() });
        // Each message comes in time, all of them together don't.
        let sender = thread::spawn(move || {
            for number in 0u64.. {
                thread::sleep(SHORT);
                if peer.write_all(&(number << 32).to_le_bytes()).is_err() {
                    break;
                }
            }
        });
        assert!((0..100).take_while(|_| channel.recv().is_ok()).count() < 5);
        assert!(channel.recv().unwrap_err().to_string().contains("together took too long"));
        drop(channel);
        sender.join().unwrap();
    }

    #[test]
    fn a_peer_that_shows_signs_of_life_is_waited_for_and_a_dead_one_is_not() {
        let limits = Limits { silence: 8 * SHORT, keep_alive: SHORT, ..Limits::default() };
        let (mut one, peer) = channel(limits);
        let mut other = Channel::tcp_with(peer.try_clone().unwrap(), limits).unwrap();
        let waits = thread::spawn(move || one.recv().map(|m| m.len()));
        thread::sleep(24 * SHORT);
        other.send(vec![1; 3]).unwrap();
        assert_eq!(waits.join().unwrap().unwrap(), 3);
        drop(other);
        // Nothing at all comes of a peer whose socket is open.
        let (mut one, _peer) = channel(limits);
        assert!(one.recv().unwrap_err().to_string().contains("no sign of life"));
    }

    #[test]
    fn a_cancelled_run_ends_at_both_ends_whatever_is_queued() {
        let (mut one, peer) = channel(Limits::default());
        let mut other = Channel::tcp(peer).unwrap();
        one.send(vec![1; 3]).unwrap();
        let canceller = one.canceller();
        let waits = thread::spawn(move || (one.recv().err(), one.send(vec![]).err()));
        canceller.cancel();
        assert!(matches!(waits.join().unwrap(), (Some(Error::Cancelled), Some(Error::Cancelled))));
        while let Ok(message) = other.recv() {
            assert_eq!(message, [1; 3]);
        }
        assert!(matches!(other.recv(), Err(Error::Cancelled)));
        assert!(matches!(other.send(vec![]), Err(Error::Cancelled)));
    }

    #[test]
    fn a_refusal_arrives_though_its_sender_goes_and_has_not_read_all() {
        let refusal = Refusal::new(Code::Busy, "busy, 16 runs wait; try again in about 90 s");
        for _ in 0..50 {
            let (one, peer) = channel(Limits::default());
            let mut other = Channel::tcp(peer).unwrap();
            for _ in 0..20 {
                other.send(vec![1; 3000]).unwrap();
            }
            let sent = refusal.clone();
            let refuse = thread::spawn(move || one.refuse(sent));
            let told = loop {
                if let Err(e) = other.recv() {
                    break e;
                }
            };
            assert!(matches!(&told, Error::Refused(r) if *r == refusal), "{told}");
            drop(other);
            refuse.join().unwrap();
        }
    }
}
