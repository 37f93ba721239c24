//! What a run cost: time, bytes and round trips, layer by layer.

use std::time::Duration;

use serde::Serialize;

use blindvox_net::channel::Traffic;

/// One party's account of one step.
#[derive(Clone, Debug)]
pub struct StepCost {
    /// The layer.
    pub name: String,
    /// Its kind.
    pub kind: &'static str,
    /// Wall-clock time, waiting for the peer included.
    pub time: Duration,
    /// Bytes and round trips.
    pub traffic: Traffic,
}

impl StepCost {
    /// Takes another account of the same step in.
    pub(super) fn add(&mut self, other: &Self) {
        self.time += other.time;
        self.traffic.sent += other.traffic.sent;
        self.traffic.received += other.traffic.received;
        self.traffic.rounds += other.traffic.rounds;
    }
}

/// A row of the report.
#[derive(Clone, Debug, Serialize)]
pub struct LayerReport {
    /// The layer.
    pub name: String,
    /// Its kind.
    pub kind: &'static str,
    /// Wall-clock seconds.
    pub seconds: f64,
    /// Bytes both ways.
    pub bytes: u64,
    /// Of them, from the client to the server.
    pub bytes_client_to_server: u64,
    /// And back.
    pub bytes_server_to_client: u64,
    /// Round trips as the client counts them.
    pub rounds: u64,
}

/// Sums of a part of the run.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Total {
    /// Wall-clock seconds.
    pub seconds: f64,
    /// Bytes to the server.
    pub bytes_client_to_server: u64,
    /// Bytes to the client.
    pub bytes_server_to_client: u64,
    /// Round trips as the client counts them.
    pub rounds: u64,
}

impl LayerReport {
    /// The client's account of a step, which sees the traffic of both.
    pub fn of_client(cost: &StepCost) -> Self {
        Self {
            name: cost.name.clone(),
            kind: cost.kind,
            seconds: cost.time.as_secs_f64(),
            bytes: cost.traffic.sent + cost.traffic.received,
            bytes_client_to_server: cost.traffic.sent,
            bytes_server_to_client: cost.traffic.received,
            rounds: cost.traffic.rounds,
        }
    }
}

impl Total {
    /// Sums the client's accounts.
    pub fn of_client<'a>(costs: impl IntoIterator<Item = &'a StepCost>) -> Self {
        costs.into_iter().fold(Self::default(), |sum, cost| Self {
            seconds: sum.seconds + cost.time.as_secs_f64(),
            bytes_client_to_server: sum.bytes_client_to_server + cost.traffic.sent,
            bytes_server_to_client: sum.bytes_server_to_client + cost.traffic.received,
            rounds: sum.rounds + cost.traffic.rounds,
        })
    }
}

/// The largest resident set of this process so far, in bytes; none where the system does not tell.
pub fn peak_memory_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"))?;
    Some(line.trim().trim_end_matches("kB").trim().parse::<u64>().ok()? * 1024)
}
