//! Progress bars and tables.

use std::fmt::Arguments;
use std::io::{Error, ErrorKind, Write};
use std::sync::OnceLock;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::time::Duration;

use blindvox_protocols::Result;
use blindvox_protocols::infer::Observer;
use blindvox_protocols::infer::report::{LayerReport, StepCost, Total};
use blindvox_protocols::linear::Plan;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Prints a line. Where nobody reads any more (`blindvox ... | head`) the rest is silently left out.
macro_rules! say {
    () => { $crate::ui::screen::line(format_args!("")) };
    ($($arg:tt)*) => { $crate::ui::screen::line(format_args!($($arg)*)) };
}

/// The first line that couldn't be printed, and why.
static FAILED: OnceLock<Error> = OnceLock::new();

/// What `say!` calls. A failure is kept for [`check`].
pub(crate) fn line(text: Arguments<'_>) {
    if let Err(e) = writeln!(std::io::stdout().lock(), "{text}")
        && e.kind() != ErrorKind::BrokenPipe
    {
        FAILED.get_or_init(|| e);
    }
}

/// Whether all that was said was printed, or nobody wanted to read it.
///
/// # Errors
/// [`blindvox_protocols::Error::Io`] for standard output on a full device.
pub(crate) fn check() -> Result<()> {
    match FAILED.get() {
        None => Ok(()),
        Some(e) => {
            let source = e.raw_os_error().map_or_else(|| e.kind().into(), Error::from_raw_os_error);
            Err(blindvox_protocols::Error::Io { path: "standard output".into(), source })
        }
    }
}

/// Tells people of something that doesn't stop the run, in one line.
pub(crate) fn warn(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "warning: {text}");
}

/// A line for the running layer with its own clock, above a bar over all layers; silent where the output is not a
/// terminal.
pub(crate) struct Progress {
    layers: ProgressBar,
    layer: ProgressBar,
    /// Dropped to stop the clock.
    _clock: Option<Sender<()>>,
}

/// How often clocks are redrawn.
const TICK: Duration = Duration::from_millis(100);

impl Progress {
    /// For a program of `steps` steps; hidden if `quiet`.
    pub(crate) fn new(steps: usize, quiet: bool) -> Self {
        let lines = MultiProgress::with_draw_target(match quiet {
            true => ProgressDrawTarget::hidden(),
            false => ProgressDrawTarget::stderr(),
        });
        let layer = lines.add(ProgressBar::new_spinner()).with_style(style("{elapsed:>4} {spinner} {wide_msg}"));
        let layers =
            lines.add(ProgressBar::new(steps as u64)).with_style(style("{elapsed:>4} {bar:32} {pos}/{len} layers"));
        let clock = if lines.is_hidden() { None } else { clock(layer.clone()) };
        let progress = Self { layers, layer, _clock: clock };
        progress.start("keys and square pairs".to_owned());
        progress
    }

    fn start(&self, what: String) {
        self.layer.reset_elapsed();
        self.layer.set_message(what);
        self.layers.tick();
    }

    /// A layer is done.
    pub(crate) fn step(&mut self, name: &str) {
        self.layers.inc(1);
        self.start(format!("after {name}"));
    }

    /// Takes everything away.
    pub(crate) fn finish(&self) {
        self.layer.finish_and_clear();
        self.layers.finish_and_clear();
    }
}

/// A thread that keeps a line's clock going until the sender is dropped. Where the system refuses one the clock moves
/// with the layers.
fn clock(line: ProgressBar) -> Option<Sender<()>> {
    let (stop, stopped) = mpsc::channel();
    let run = move || {
        while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(TICK) {
            line.tick();
        }
    };
    std::thread::Builder::new().spawn(run).ok().map(|_| stop)
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

impl Observer for Progress {
    fn begin(&mut self, name: &str, kind: &str) {
        self.start(format!("{name} ({kind})"));
    }

    fn end(&mut self, _: &StepCost) {
        self.layers.inc(1);
    }
}

/// Bytes in words.
pub(crate) fn bytes(count: u64) -> String {
    match count {
        0..10_000 => format!("{count} B"),
        10_000..10_000_000 => format!("{:.1} kB", count as f64 / 1e3),
        _ => format!("{:.1} MB", count as f64 / 1e6),
    }
}

/// The closing table.
pub(crate) fn table(rows: &[LayerReport], total: &Total) {
    say!("{:<16} {:<14} {:>8} {:>11} {:>11} {:>7}", "layer", "kind", "seconds", "to server", "to client", "rounds");
    let line = |name: &str, kind: &str, seconds: f64, up: u64, down: u64, rounds: u64| {
        say!("{name:<16} {kind:<14} {seconds:>8.3} {:>11} {:>11} {rounds:>7}", bytes(up), bytes(down));
    };
    for r in rows {
        line(&r.name, r.kind, r.seconds, r.bytes_client_to_server, r.bytes_server_to_client, r.rounds);
    }
    line("total", "", total.seconds, total.bytes_client_to_server, total.bytes_server_to_client, total.rounds);
}

/// How each linear layer is packed into ciphertexts, and how its replies are flooded.
pub(crate) fn plans(plans: &[Plan]) {
    say!(
        "{:<16} {:>12} {:>9} {:>10} {:>8} {:>8} {:>9} {:>6} {:>14}",
        "layer",
        "tile",
        "ch/input",
        "ch/product",
        "inputs",
        "replies",
        "products",
        "flood",
        "noise of bits"
    );
    for plan in plans {
        let (encoding, cost, budget) = (plan.encoding(), plan.cost(), plan.budget());
        let tile = encoding.tile().map(|t| t.to_string()).join("x");
        let noise = format!("{:.1} of {:.1}", budget.need_bits, budget.have_bits);
        say!(
            "{:<16} {tile:>12} {:>9} {:>10} {:>8} {:>8} {:>9} {:>6} {noise:>14}",
            plan.spec().name,
            encoding.in_pack(),
            encoding.out_pack(),
            cost.inputs,
            cost.replies,
            cost.products,
            budget.flood_bits,
        );
    }
}
