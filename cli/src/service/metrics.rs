//! Counters, in the text form 0.0.4 that Prometheus reads.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{Mutex, MutexGuard, PoisonError};

use blindvox_net::Code;

use super::admission::Places;

/// Upper ends of the histogram of runs' seconds.
const SECONDS: [f64; 8] = [1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0, 3600.0];

#[derive(Default)]
struct State {
    runs: BTreeMap<(String, String), u64>,
    refused: BTreeMap<&'static str, u64>,
    handshakes: BTreeMap<&'static str, u64>,
    coefficients: BTreeMap<String, u64>,
    seconds: [u64; SECONDS.len()],
    seconds_sum: f64,
    seconds_count: u64,
    bytes: [u64; 2],
    panics: u64,
}

/// All counters of a service.
#[derive(Default)]
pub(crate) struct Metrics(Mutex<State>);

/// A label's value.
fn quoted(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', " ")
}

impl Metrics {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A run has ended.
    pub(crate) fn run(&self, model: &str, outcome: &str, seconds: f64, [received, sent]: [u64; 2]) {
        let mut state = self.lock();
        *state.runs.entry((model.to_owned(), outcome.to_owned())).or_default() += 1;
        for (bucket, end) in state.seconds.iter_mut().zip(SECONDS) {
            *bucket += u64::from(seconds <= end);
        }
        state.seconds_sum += seconds;
        state.seconds_count += 1;
        state.bytes[0] += received;
        state.bytes[1] += sent;
    }

    /// Replies to a client hid the weights in so many coefficients.
    pub(crate) fn coefficients(&self, client: &str, count: u64) {
        *self.lock().coefficients.entry(client.to_owned()).or_default() += count;
    }

    /// Somebody was refused.
    pub(crate) fn refused(&self, code: Code) {
        *self.lock().refused.entry(code.name()).or_default() += 1;
    }

    /// A greeting failed.
    pub(crate) fn handshake(&self, why: &'static str) {
        *self.lock().handshakes.entry(why).or_default() += 1;
    }

    /// A session ended in a fault of the program.
    pub(crate) fn panicked(&self) {
        self.lock().panics += 1;
    }

    /// All of it as text.
    pub(crate) fn text(&self, places: &Places) -> String {
        let state = self.lock();
        let (running, queued, reserved) = places.now();
        let mut out = String::new();
        let mut family = |name: &str, kind: &str, rows: Vec<(String, String)>| {
            let _ = writeln!(out, "# TYPE blindvox_{name} {kind}");
            for (labels, value) in rows {
                let _ = writeln!(out, "blindvox_{name}{labels} {value}");
            }
        };
        let one = |value: u64| vec![(String::new(), value.to_string())];
        let by = |label: &str, counts: &BTreeMap<&'static str, u64>| {
            counts.iter().map(|(v, n)| (format!("{{{label}=\"{v}\"}}"), n.to_string())).collect()
        };
        let runs = state.runs.iter().map(|((model, outcome), n)| {
            (format!("{{model=\"{}\",outcome=\"{}\"}}", quoted(model), quoted(outcome)), n.to_string())
        });
        family("runs_total", "counter", runs.collect());
        family("running", "gauge", one(running as u64));
        family("queued", "gauge", one(queued as u64));
        family("refused_total", "counter", by("code", &state.refused));
        family("memory_reserved_bytes", "gauge", one(reserved));
        family("handshake_failures_total", "counter", by("why", &state.handshakes));
        family("panics_total", "counter", one(state.panics));
        let [received, sent] = state.bytes;
        let bytes =
            [("received", received), ("sent", sent)].map(|(d, n)| (format!("{{direction=\"{d}\"}}"), n.to_string()));
        family("bytes_total", "counter", bytes.to_vec());
        let clients = state.coefficients.iter().map(|(c, n)| (format!("{{client=\"{}\"}}", quoted(c)), n.to_string()));
        family("reply_coefficients_total", "counter", clients.collect());
        let _ = writeln!(out, "# TYPE blindvox_run_seconds histogram");
        for (count, end) in state.seconds.iter().zip(SECONDS) {
            let _ = writeln!(out, "blindvox_run_seconds_bucket{{le=\"{end}\"}} {count}");
        }
        let _ = writeln!(out, "blindvox_run_seconds_bucket{{le=\"+Inf\"}} {}", state.seconds_count);
        let _ = writeln!(out, "blindvox_run_seconds_sum {}", state.seconds_sum);
        let _ = writeln!(out, "blindvox_run_seconds_count {}", state.seconds_count);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_counter_has_its_line() {
        let metrics = Metrics::default();
        metrics.run("hippo", "done", 2.5, [10, 20]);
        metrics.run("hippo", "cancelled", 0.5, [1, 2]);
        metrics.coefficients("hospital \"a\"", 7);
        metrics.refused(Code::Busy);
        metrics.handshake("tls");
        let text = metrics.text(&Places::new(1, 1, 1));
        for line in [
            "blindvox_runs_total{model=\"hippo\",outcome=\"done\"} 1",
            "blindvox_running 0",
            "blindvox_queued 0",
            "blindvox_refused_total{code=\"busy\"} 1",
            "blindvox_run_seconds_bucket{le=\"1\"} 1",
            "blindvox_run_seconds_bucket{le=\"3\"} 2",
            "blindvox_run_seconds_bucket{le=\"+Inf\"} 2",
            "blindvox_run_seconds_sum 3",
            "blindvox_bytes_total{direction=\"sent\"} 22",
            "blindvox_memory_reserved_bytes 0",
            "blindvox_handshake_failures_total{why=\"tls\"} 1",
            "blindvox_reply_coefficients_total{client=\"hospital \\\"a\\\"\"} 7",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} in\n{text}");
        }
    }
}
