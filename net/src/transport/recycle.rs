//! Buffers of messages and of shares that have served, kept for the next ones: fresh pages cost more than what fills
//! them.
//!
//! A message is public, as its peer and the network have it, so it is not cleared; shares are cleared before they come
//! here. A buffer comes back empty, so nothing of an old message can reach a new one. In one process the parties share
//! the pools; on a link each side has what it sent and read.

use std::collections::VecDeque;
use std::sync::Mutex;

/// Bytes that a pool keeps at most.
const MOST: usize = 16 << 20;
/// The smallest buffer worth keeping, in bytes: an allocator keeps smaller ones itself.
const LEAST: usize = 64 << 10;

/// Free buffers, the longest unused first.
struct Pool<T> {
    free: VecDeque<Vec<T>>,
    bytes: usize,
}

fn bytes<T>(buffer: &Vec<T>) -> usize {
    buffer.capacity() * size_of::<T>()
}

impl<T> Pool<T> {
    const fn new() -> Self {
        Self { free: VecDeque::new(), bytes: 0 }
    }

    /// The smallest that is large enough; none more than twice too large.
    fn take(&mut self, capacity: usize) -> Option<Vec<T>> {
        let fitting = self.free.iter().enumerate().filter(|(_, b)| (capacity..=2 * capacity).contains(&b.capacity()));
        let (at, _) = fitting.min_by_key(|(_, b)| b.capacity())?;
        let buffer = self.free.remove(at)?;
        self.bytes -= bytes(&buffer);
        Some(buffer)
    }

    /// Keeps a buffer; returns what is to be freed, outside of the lock.
    fn give(&mut self, mut buffer: Vec<T>) -> Vec<Vec<T>> {
        if !(LEAST..=MOST).contains(&bytes(&buffer)) {
            return vec![buffer];
        }
        buffer.clear();
        self.bytes += bytes(&buffer);
        self.free.push_back(buffer);
        let mut surplus = Vec::new();
        while self.bytes > MOST
            && let Some(oldest) = self.free.pop_front()
        {
            self.bytes -= bytes(&oldest);
            surplus.push(oldest);
        }
        surplus
    }
}

static MESSAGES: Mutex<Pool<u8>> = Mutex::new(Pool::new());
static SHARES: Mutex<Pool<u32>> = Mutex::new(Pool::new());

fn take<T>(pool: &Mutex<Pool<T>>, capacity: usize) -> Vec<T> {
    let small = capacity * size_of::<T>() < LEAST;
    let kept = if small { None } else { pool.lock().unwrap_or_else(|e| e.into_inner()).take(capacity) };
    kept.unwrap_or_else(|| Vec::with_capacity(capacity))
}

fn put<T>(pool: &Mutex<Pool<T>>, buffer: Vec<T>) {
    if bytes(&buffer) >= LEAST {
        let surplus = pool.lock().unwrap_or_else(|e| e.into_inner()).give(buffer);
        drop(surplus);
    }
}

/// An empty buffer with room for at least `capacity` bytes.
pub fn with_capacity(capacity: usize) -> Vec<u8> {
    take(&MESSAGES, capacity)
}

/// Takes back a message that was read.
pub fn give(message: Vec<u8>) {
    put(&MESSAGES, message);
}

/// Frees what is kept of messages: a connection has ended. One that goes on begins to collect anew.
pub fn free_messages() {
    let all = std::mem::replace(&mut *MESSAGES.lock().unwrap_or_else(|e| e.into_inner()), Pool::new());
    drop(all);
}

/// An empty buffer with room for at least `capacity` shares.
pub fn shares(capacity: usize) -> Vec<u32> {
    take(&SHARES, capacity)
}

/// Takes back the memory of shares, which its owner has cleared.
pub fn give_shares(cleared: Vec<u32>) {
    put(&SHARES, cleared);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_come_back_empty_and_fitting() {
        let mut pool = Pool::<u8>::new();
        for len in [LEAST, 5 * LEAST, 3 * LEAST] {
            assert!(pool.give(vec![7; len]).is_empty());
        }
        assert_eq!(pool.take(2 * LEAST).map(|b| (b.len(), b.capacity())), Some((0, 3 * LEAST)));
        assert!(pool.take(2 * LEAST).is_none() && pool.take(6 * LEAST).is_none());
        assert_eq!(pool.take(LEAST).map(|b| b.capacity()), Some(LEAST));
        assert_eq!(pool.bytes, 5 * LEAST);
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let mut pool = Pool::<u8>::new();
        assert_eq!(pool.give(Vec::with_capacity(LEAST - 1)).len(), 1);
        assert_eq!(pool.give(Vec::with_capacity(MOST + 1)).len(), 1);
        assert!(pool.give(Vec::with_capacity(LEAST)).is_empty());
        let surplus = pool.give(Vec::with_capacity(MOST));
        assert_eq!(surplus.iter().map(Vec::capacity).collect::<Vec<_>>(), [LEAST]);
        assert_eq!((pool.bytes, pool.free.len()), (MOST, 1));
    }
}
