//! Messages over TCP: their length and number as little-endian u32, then the bytes. One thread reads and one writes, so
//! that a protocol thread only ever waits on its queues. Both end with the channel: its [`Link`] sees to that.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::pace::Pace;
use super::queue::{Closer, Message, Popper, Pusher, queue};
use super::recycle;
use super::{DEFAULT_TIMEOUT, MAX_MESSAGE};
use crate::error::{Error, Result};

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
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            wait: DEFAULT_TIMEOUT,
            total: Duration::from_secs(3600),
            rate: 64 << 10,
            window: DEFAULT_TIMEOUT,
            grace: Duration::from_secs(5),
        }
    }
}

/// What the threads and the channel know of each other.
#[derive(Default)]
struct State {
    /// When the writer gives up, once the channel is dropped.
    deadline: Option<Instant>,
    /// How the writer ended.
    written: Option<std::result::Result<(), String>>,
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
pub fn connect(stream: TcpStream, limits: Limits) -> Result<((Pusher, Popper), Link)> {
    let refused = |e: std::io::Error| Error::Connection(e.to_string());
    stream.set_nodelay(true).map_err(refused)?;
    // The writer looks this often whether its peer is too slow, or the channel gone.
    let tick = (limits.window.min(limits.grace) / 8).clamp(Duration::from_millis(1), Duration::from_millis(250));
    stream.set_write_timeout(Some(tick)).map_err(refused)?;
    let [reader, writer] = [stream.try_clone().map_err(refused)?, stream.try_clone().map_err(refused)?];
    let (out_push, out_pop) = queue();
    let (in_push, in_pop) = queue();
    let shared = Arc::new(Shared::default());
    let pace = Pace::new(limits.rate, limits.window);
    let done = Err("the writer was never started".to_owned());
    let (out, inc) = (out_push.closer(), in_push.closer());
    let mut link = Link { stream, shared: shared.clone(), grace: limits.grace, out, inc, threads: Vec::new() };
    let writer = Writer { stream: writer, shared, pace, closer: in_push.closer(), done };
    let start = |run: Box<dyn FnOnce() + Send>| {
        thread::Builder::new().spawn(run).map_err(|source| Error::Thread { what: "a connection", source })
    };
    link.threads.push(start(Box::new(move || writer.run(&out_pop)))?);
    link.threads.push(start(Box::new(move || read_messages(reader, &in_push)))?);
    Ok(((out_push, in_pop), link))
}

struct Writer {
    stream: TcpStream,
    shared: Arc<Shared>,
    pace: Pace,
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
        self.done = Ok(());
        while let Ok(message) = queue.pop(FOREVER) {
            let length = message.bytes.len() as u64;
            let header = (u64::from(message.number) << 32 | length).to_le_bytes();
            self.done = self.write(&header).and_then(|()| self.write(&message.bytes));
            if let Err(why) = &self.done {
                queue.close(why);
                break;
            }
            recycle::give(message.bytes);
        }
        // A broken connection ends the reading half too. A whole one is ended by the link alone, both halves together:
        // not everything between two parties passes on one half after the end of the other.
        if self.done.is_err() {
            let _ = self.stream.shutdown(Shutdown::Both);
        }
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

fn read_messages(mut stream: TcpStream, queue: &Pusher) {
    let why = loop {
        match read_message(&mut stream) {
            Ok(message) => {
                if queue.push(message, FOREVER).is_err() {
                    break "closed".to_owned();
                }
            }
            Err(why) => break why,
        }
    };
    queue.close(&why);
    // Not the writing half: sends go on until the next receive, which tells the cause.
    let _ = stream.shutdown(Shutdown::Read);
}

/// Reads one frame: length and number as little-endian u32, then the bytes. The length is checked before anything is
/// allocated.
///
/// # Errors
/// In words: the stream ended or broke, or more than [`MAX_MESSAGE`] bytes were announced.
pub fn read_message(stream: &mut impl Read) -> std::result::Result<Message, String> {
    let mut header = [0u8; 8];
    stream.read_exact(&mut header).map_err(|e| describe(&e))?;
    let header = u64::from_le_bytes(header);
    let (length, number) = (header as u32 as usize, (header >> 32) as u32);
    if length > MAX_MESSAGE {
        return Err(format!("the peer announced a message of {length} bytes, at most {MAX_MESSAGE} are allowed"));
    }
    let mut bytes = recycle::with_capacity(length);
    bytes.resize(length, 0);
    stream.read_exact(&mut bytes).map_err(|e| describe(&e))?;
    Ok(Message { number, bytes })
}

fn describe(e: &std::io::Error) -> String {
    match e.kind() {
        ErrorKind::UnexpectedEof => "the peer closed the connection".to_owned(),
        _ => e.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use proptest::prelude::*;

    use super::*;
    use crate::channel::{CHUNK, Channel};

    proptest! {
        #[test]
        fn any_bytes_decode_or_fail_without_a_large_allocation(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let mut stream = &bytes[..];
            while let Ok(message) = read_message(&mut stream) {
                prop_assert!(message.bytes.len() <= bytes.len());
            }
        }
    }

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
    fn an_oversized_announcement_is_refused() {
        let bytes = u64::MAX.to_le_bytes();
        assert!(read_message(&mut &bytes[..]).unwrap_err().contains("at most"));
    }
}
