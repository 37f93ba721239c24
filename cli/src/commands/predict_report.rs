//! What `predict` reports and says.

use blindvox_models::atomic;
use blindvox_protocols::cryptmed::session::{Cost, Party};
use blindvox_protocols::infer::report::{StepCost, Total};
use blindvox_protocols::{Error, Result};
use serde::Serialize;

use super::predict_rows::{Found, Rows, accuracy};
use crate::args::PredictArgs;
use crate::ui::files::stage;
use crate::ui::screen;

/// What `--report` writes.
#[derive(Default, Serialize)]
pub(super) struct Report {
    pub model: String,
    /// Which one it was, and where, if not on this machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    pub system: &'static str,
    pub preset: &'static str,
    pub rows: usize,
    pub setup: Phase,
    #[serde(rename = "model_phase")]
    pub hiding: Phase,
    pub preprocessing: Phase,
    pub dealer: Phase,
    pub online: Phase,
    pub total: Phase,
    pub learned: Learned,
    pub accuracy: Option<f64>,
    pub compare: Option<Compare>,
    pub warnings: Vec<String>,
}

/// What a phase cost; the dealer's bytes are the server's corrections and both seeds.
#[derive(Clone, Copy, Default, Serialize)]
pub(super) struct Phase {
    pub seconds: f64,
    pub bytes_client_to_server: u64,
    pub bytes_server_to_client: u64,
    pub bytes_from_dealer: u64,
    pub flights: usize,
}

/// Who learned what.
#[derive(Default, Serialize)]
pub(super) struct Learned {
    pub client: &'static str,
    pub server: &'static str,
    pub dealer: &'static str,
}

/// Rows that differ from the networks in the clear.
#[derive(Serialize)]
pub(super) struct Compare {
    pub rows: usize,
    pub label_disagreements_vs_integer: usize,
    pub label_disagreements_vs_float: usize,
    pub rows_out_of_range: usize,
}

impl Phase {
    /// As one party counted it.
    pub(super) fn of(cost: &Cost, party: Party) -> Self {
        let (there, back) = (cost.traffic.sent, cost.traffic.received);
        let [up, down] = if party == Party::Client { [there, back] } else { [back, there] };
        Self {
            seconds: cost.time.as_secs_f64(),
            bytes_client_to_server: up,
            bytes_server_to_client: down,
            flights: cost.flights,
            ..Self::default()
        }
    }

    pub(super) fn of_steps(steps: &[StepCost]) -> Self {
        let Total { seconds, bytes_client_to_server, bytes_server_to_client, rounds } = Total::of_client(steps);
        Self { seconds, bytes_client_to_server, bytes_server_to_client, flights: rounds as usize, ..Self::default() }
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.seconds += other.seconds;
        self.bytes_client_to_server += other.bytes_client_to_server;
        self.bytes_server_to_client += other.bytes_server_to_client;
        self.bytes_from_dealer += other.bytes_from_dealer;
        self.flights += other.flights;
    }
}

impl Learned {
    /// In runs with a dealer, with scores or without.
    pub(super) fn with_dealer(scores: bool) -> Self {
        Self {
            client: if scores {
                "the scores, the architecture and its scales"
            } else {
                "the classes, the architecture and its scales"
            },
            server: "the number of rows",
            dealer: "the architecture and the number of rows; together with the client it could read the model, together with the server the rows",
        }
    }

    /// In runs without one.
    pub(super) fn without_dealer() -> Self {
        Self {
            client: "the classes, the architecture and its scales",
            server: "the number of rows",
            dealer: "there was none",
        }
    }
}

/// Writes everything and says so.
pub(super) fn write(args: &PredictArgs, rows: &Rows, found: &Found, mut report: Report) -> Result<()> {
    let all = [report.setup, report.hiding, report.preprocessing, report.online];
    all.iter().for_each(|phase| report.total.add(phase));
    report.accuracy = rows.truth.as_ref().map(|truth| accuracy(truth, &found.labels));
    let mut outputs = vec![stage(&args.output, &rows.table(args, found))?];
    if let Some(path) = &args.report {
        let json = serde_json::to_vec_pretty(&report).map_err(|e| Error::Input(format!("{}: {e}", path.display())))?;
        outputs.push(stage(path, &json)?);
    }
    if !args.quiet {
        tell(args, rows, &found.labels, &report);
    }
    screen::check()?;
    Ok(atomic::commit_all(outputs)?)
}

/// What happened, for people.
fn tell(args: &PredictArgs, rows: &Rows, labels: &[usize], report: &Report) {
    let classes = &rows.classes;
    for (class, name) in classes.iter().enumerate() {
        say!("{name}: {} of {} rows", labels.iter().filter(|l| **l == class).count(), labels.len());
    }
    if let (Some(truth), Some(accuracy)) = (&rows.truth, report.accuracy) {
        say!("Accuracy {:.2} %; of each true class (lines), how many were taken for which:", 100.0 * accuracy);
        for (class, name) in classes.iter().enumerate() {
            let taken =
                |as_class: usize| truth.iter().zip(labels).filter(|(t, l)| **t == class && **l == as_class).count();
            let counts: Vec<_> = (0..classes.len()).map(|c| format!("{:>7}", taken(c))).collect();
            say!("{name:>20}{}", counts.join(""));
        }
    }
    if args.verbose {
        let phases = [
            ("setup", &report.setup),
            ("model", &report.hiding),
            ("preprocessing", &report.preprocessing),
            ("dealer", &report.dealer),
            ("online", &report.online),
        ];
        for (name, p) in phases {
            let bytes = [p.bytes_client_to_server, p.bytes_server_to_client, p.bytes_from_dealer].map(screen::bytes);
            say!(
                "{name:>14}: {:9.3} ms, up {}, down {}, dealt {}, {} flights",
                p.seconds * 1e3,
                bytes[0],
                bytes[1],
                bytes[2],
                p.flights
            );
        }
    }
    say!(
        "The hospital learned {}; the service {}; the dealer: {}.",
        report.learned.client,
        report.learned.server,
        report.learned.dealer
    );
    if let Some(seed) = args.insecure_test_seed {
        say!("WARNING: all randomness was derived from the test seed {seed}; nothing was secret in this run.");
    }
    if let Some(c) = &report.compare {
        say!(
            "In the clear: {} of {} rows differ from the integer network, {} from the float network.",
            c.label_disagreements_vs_integer,
            c.rows,
            c.label_disagreements_vs_float
        );
    }
    say!("Wrote {}", args.output.display());
    args.report.iter().for_each(|path| say!("Wrote {}", path.display()));
}
