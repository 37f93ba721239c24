//! Bytes of messages, by direction: what runs are estimated by before they run.

use std::iter::Sum;
use std::ops::{Add, Mul};

use blindvox_net::channel::{Party, Traffic};

/// Bytes in both directions, framing not included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bytes {
    /// From the client to the server.
    pub up: u64,
    /// From the server to the client.
    pub down: u64,
}

impl Bytes {
    /// As much in both directions.
    pub fn each_way(bytes: usize) -> Self {
        Self { up: bytes as u64, down: bytes as u64 }
    }

    /// `there` from this party, and `back` to it.
    pub fn sent_by(party: Party, there: usize, back: usize) -> Self {
        match party {
            Party::Client => Self { up: there as u64, down: back as u64 },
            Party::Server => Self { up: back as u64, down: there as u64 },
        }
    }

    /// Both directions together.
    pub fn total(self) -> u64 {
        self.up + self.down
    }
}

impl Add for Bytes {
    type Output = Self;

    fn add(self, more: Self) -> Self {
        Self { up: self.up + more.up, down: self.down + more.down }
    }
}

impl Mul<usize> for Bytes {
    type Output = Self;

    fn mul(self, times: usize) -> Self {
        Self { up: self.up * times as u64, down: self.down * times as u64 }
    }
}

impl Sum for Bytes {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), Add::add)
    }
}

/// What the client counted.
impl From<Traffic> for Bytes {
    fn from(counted: Traffic) -> Self {
        Self { up: counted.sent, down: counted.received }
    }
}

/// The sizes of the batches that `count` are worked on in.
pub(crate) fn batches(count: usize, most: usize) -> impl Iterator<Item = usize> {
    (0..count).step_by(most).map(move |at| most.min(count - at))
}
