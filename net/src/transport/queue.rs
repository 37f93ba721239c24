//! A queue of messages bounded in bytes, closed by either end, with time-outs.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use super::recycle;
use crate::error::{Error, Result};
use crate::refusal::Refusal;

/// Bytes that may wait in one direction before the sender blocks. One message is always let in.
pub const CAPACITY: usize = 48 << 20;

/// A message and its place among those of its direction, by which a lost, repeated or displaced one is noticed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Counts from 0, modulo 2^32.
    pub number: u32,
    /// When it left, in latencies by its sender's clock; 0 where it came over a wire, which doesn't carry that.
    pub flight: u32,
    /// What is sent.
    pub bytes: Vec<u8>,
}

/// Why no more messages pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// In words; messages queued before it are still delivered.
    Closed(String),
    /// The run was given up; what is queued is of no use.
    Cancelled,
    /// A refusal; what is queued is of no use.
    Refused(Refusal),
}

impl End {
    fn is_abort(&self) -> bool {
        !matches!(self, Self::Closed(_))
    }
}

impl From<End> for Error {
    fn from(end: End) -> Self {
        match end {
            End::Closed(why) => Self::Connection(why),
            End::Cancelled => Self::Cancelled,
            End::Refused(refusal) => Self::Refused(refusal),
        }
    }
}

#[derive(Default)]
struct State {
    messages: VecDeque<Message>,
    bytes: usize,
    end: Option<End>,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

/// The end that pushes. Dropping it closes the queue.
pub struct Pusher(Arc<Shared>);

/// The end that pops. Dropping it makes pushes fail.
pub struct Popper(Arc<Shared>);

/// A new queue.
pub fn queue() -> (Pusher, Popper) {
    let shared = Arc::new(Shared { state: Mutex::default(), changed: Condvar::new() });
    (Pusher(shared.clone()), Popper(shared))
}

impl Shared {
    fn is_empty(&self) -> bool {
        self.state.lock().unwrap_or_else(|e| e.into_inner()).messages.is_empty()
    }

    /// The first end stands, but that an abort takes the place of a close.
    fn end(&self, end: End) {
        let mut state = self.state.lock().unwrap_or_else(|e| e.into_inner());
        if state.end.as_ref().is_none_or(|before| end.is_abort() && !before.is_abort()) {
            state.end = Some(end);
        }
        self.changed.notify_all();
    }

    fn close(&self, why: &str) {
        self.end(End::Closed(why.to_owned()));
    }
}

impl Pusher {
    /// Hands `message` over, waiting while the queue is full, at most `timeout`.
    pub fn push(&self, message: Message, timeout: Duration) -> Result<()> {
        let deadline = Instant::now() + timeout;
        let mut state = self.0.state.lock().unwrap_or_else(|e| e.into_inner());
        loop {
            if let Some(end) = &state.end {
                return Err(end.clone().into());
            }
            if state.bytes == 0 || state.bytes + message.bytes.len() <= CAPACITY {
                break;
            }
            state = wait(&self.0, state, deadline, "the peer stopped reading")?;
        }
        state.bytes += message.bytes.len();
        state.messages.push_back(message);
        self.0.changed.notify_all();
        Ok(())
    }

    /// Whether all that was pushed is popped.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Closes the queue with a reason that the popping end reports once it is empty.
    pub fn close(&self, why: &str) {
        self.0.close(why);
    }

    /// An error if the queue has ended.
    pub(crate) fn check(&self) -> Result<()> {
        let state = self.0.state.lock().unwrap_or_else(|e| e.into_inner());
        state.end.clone().map_or(Ok(()), |end| Err(end.into()))
    }

    /// Ends the queue at once.
    pub fn end(&self, end: End) {
        self.0.end(end);
    }

    /// Ends the queue from elsewhere.
    pub(crate) fn closer(&self) -> Closer {
        Closer(self.0.clone())
    }
}

/// What a [`Pusher`] does to end its queue, for a thread that doesn't push.
#[derive(Clone)]
pub(crate) struct Closer(Arc<Shared>);

impl Closer {
    #[cfg(feature = "sockets")]
    pub(crate) fn close(&self, why: &str) {
        self.0.close(why);
    }

    pub(crate) fn end(&self, end: End) {
        self.0.end(end);
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.0.state.lock().unwrap_or_else(|e| e.into_inner()).end.is_some()
    }
}

/// What [`Popper::next`] found.
pub(crate) enum Next {
    Message(Message),
    /// Nothing came in time.
    Nothing,
    End(End),
}

impl Popper {
    /// The next message, waiting at most `timeout`.
    pub fn pop(&self, timeout: Duration) -> Result<Message> {
        match self.next(timeout) {
            Next::Message(message) => Ok(message),
            Next::End(end) => Err(end.into()),
            Next::Nothing => Err(Error::Connection("timed out: the peer stayed silent".to_owned())),
        }
    }

    /// The same, for who has something to do where nothing comes.
    pub(crate) fn next(&self, timeout: Duration) -> Next {
        let deadline = Instant::now() + timeout;
        let mut state = self.0.state.lock().unwrap_or_else(|e| e.into_inner());
        loop {
            if let Some(end) = state.end.as_ref().filter(|end| end.is_abort()) {
                return Next::End(end.clone());
            }
            if let Some(message) = state.messages.pop_front() {
                state.bytes -= message.bytes.len();
                self.0.changed.notify_all();
                return Next::Message(message);
            }
            if let Some(end) = &state.end {
                return Next::End(end.clone());
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Next::Nothing;
            }
            state = self.0.changed.wait_timeout(state, left).unwrap_or_else(|e| e.into_inner()).0;
        }
    }

    /// Whether nothing is there to pop.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Closes the queue with a reason that the pushing end reports.
    pub fn close(&self, why: &str) {
        self.0.close(why);
    }

    /// Ends the queue from elsewhere.
    pub(crate) fn closer(&self) -> Closer {
        Closer(self.0.clone())
    }
}

fn wait<'a>(
    shared: &'a Shared,
    state: std::sync::MutexGuard<'a, State>,
    deadline: Instant,
    what: &str,
) -> Result<std::sync::MutexGuard<'a, State>> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(Error::Connection(format!("timed out: {what}")));
    }
    Ok(shared.changed.wait_timeout(state, left).unwrap_or_else(|e| e.into_inner()).0)
}

impl Drop for Pusher {
    fn drop(&mut self) {
        self.0.close("the peer closed the connection");
    }
}

impl Drop for Popper {
    fn drop(&mut self) {
        self.0.close("the peer closed the connection");
        recycle::free_messages();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(len: usize) -> Message {
        Message { number: 0, flight: 0, bytes: vec![0; len] }
    }

    #[test]
    fn delivers_what_was_queued_before_the_close() {
        let (push, pop) = queue();
        push.push(message(1), Duration::from_secs(1)).unwrap();
        drop(push);
        assert_eq!(pop.pop(Duration::from_secs(1)).unwrap(), message(1));
        assert!(matches!(pop.pop(Duration::from_secs(1)), Err(Error::Connection(_))));
    }

    #[test]
    fn a_full_queue_times_out_and_a_large_message_passes_an_empty_one() {
        let (push, pop) = queue();
        push.push(message(CAPACITY + 1), Duration::ZERO).unwrap();
        assert!(push.push(message(1), Duration::from_millis(5)).is_err());
        assert_eq!(pop.pop(Duration::ZERO).unwrap().bytes.len(), CAPACITY + 1);
        push.push(message(1), Duration::ZERO).unwrap();
    }

    #[test]
    fn an_abort_overtakes_what_is_queued_and_stands() {
        let (push, pop) = queue();
        push.push(message(1), Duration::ZERO).unwrap();
        push.end(End::Cancelled);
        push.close("later");
        assert!(matches!(pop.pop(Duration::ZERO), Err(Error::Cancelled)));
        assert!(matches!(push.push(message(1), Duration::ZERO), Err(Error::Cancelled)));
        // A close that came first gives way: its reason is the lesser one.
        let (push, pop) = queue();
        push.close("first");
        push.end(End::Refused(Refusal::new(crate::Code::Busy, "busy")));
        assert!(matches!(pop.pop(Duration::ZERO), Err(Error::Refused(_))));
    }
}
