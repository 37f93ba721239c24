//! What came of a run, and what it cost.

use std::time::Duration;

use blindvox_net::channel::Traffic;

/// What the client learns of a run, one entry a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Classes, `[D, H, W]` each.
    Labels(Vec<Vec<u8>>),
    /// Scores at [`super::plan::SCORE_BITS`] fraction bits, `[class, D, H, W]` each.
    Scores(Vec<Vec<i32>>),
}

/// What a phase cost.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cost {
    /// Wall clock.
    pub time: Duration,
    /// As this party saw it.
    pub traffic: Traffic,
    /// From the dealer, of it none on the channel to the peer.
    pub dealt: u64,
    /// One-way latencies.
    pub flights: usize,
}

/// A run's result and costs.
#[derive(Debug)]
pub struct Outcome {
    /// The client's; none at the server's end.
    pub answer: Option<Answer>,
    /// Rows.
    pub rows: usize,
    /// What was made before the input was looked at.
    pub preprocessing: Cost,
    /// What came after.
    pub online: Cost,
}
