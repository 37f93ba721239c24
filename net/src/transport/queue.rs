//! A queue of messages bounded in bytes, closed by either end, with time-outs.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use super::recycle;
use crate::error::{Error, Result};

/// Bytes that may wait in one direction before the sender blocks. One message is always let in.
pub const CAPACITY: usize = 48 << 20;

/// A message and its place among those of its direction, by which a lost, repeated or displaced one is noticed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Counts from 0, modulo 2^32.
    pub number: u32,
    /// What is sent.
    pub bytes: Vec<u8>,
}

#[derive(Default)]
struct State {
    messages: VecDeque<Message>,
    bytes: usize,
    /// Why no more will come; messages queued before it are still delivered.
    closed: Option<String>,
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

    fn close(&self, why: &str) {
        let mut state = self.state.lock().unwrap_or_else(|e| e.into_inner());
        state.closed.get_or_insert_with(|| why.to_owned());
        self.changed.notify_all();
    }
}

impl Pusher {
    /// Hands `message` over, waiting while the queue is full, at most `timeout`.
    pub fn push(&self, message: Message, timeout: Duration) -> Result<()> {
        let deadline = Instant::now() + timeout;
        let mut state = self.0.state.lock().unwrap_or_else(|e| e.into_inner());
        loop {
            if let Some(why) = &state.closed {
                return Err(Error::Connection(why.clone()));
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

    /// Closes the queue from elsewhere.
    pub(super) fn closer(&self) -> Closer {
        Closer(self.0.clone())
    }
}

/// What [`Pusher::close`] does, for a thread that doesn't push.
pub(super) struct Closer(Arc<Shared>);

impl Closer {
    pub(super) fn close(&self, why: &str) {
        self.0.close(why);
    }
}

impl Popper {
    /// The next message, waiting at most `timeout`.
    pub fn pop(&self, timeout: Duration) -> Result<Message> {
        let deadline = Instant::now() + timeout;
        let mut state = self.0.state.lock().unwrap_or_else(|e| e.into_inner());
        loop {
            if let Some(message) = state.messages.pop_front() {
                state.bytes -= message.bytes.len();
                self.0.changed.notify_all();
                return Ok(message);
            }
            if let Some(why) = &state.closed {
                return Err(Error::Connection(why.clone()));
            }
            state = wait(&self.0, state, deadline, "the peer stayed silent")?;
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
        Message { number: 0, bytes: vec![0; len] }
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
}
