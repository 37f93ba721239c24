//! The demo's models over emulated links: every byte takes its time, and arrives after half a round trip.
//!
//! A time is the client's from its first message to the labels. The prediction is what the choice of a comparison rests
//! on: the same run's time in one process, the time that all bytes take, and half a round trip for each flight. Beside it
//! is what `estimate` says before there is a run: seconds by a probe, waits, and both parties' memory.

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use blindvox_engine::Device;
use blindvox_models::data::nifti::Volume;
use blindvox_models::{Bundle, Program};
use blindvox_net::channel::{Channel, local_pair};
use blindvox_net::testing::link;
use blindvox_protocols::infer::report::{Total, peak_memory_bytes};
use blindvox_protocols::infer::session::plans;
use blindvox_protocols::infer::{
    Client, Comparison, LinkSpeed, Options, Outcome, Server, Source, choice, estimate, flights, forecast, memory,
    sample,
};
use blindvox_protocols::ot::LINK_WIDTH;
use serde::Serialize;

use crate::process::reset_peak_memory;

/// Options of the table.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Bundles.
    #[arg(long, default_values = ["demo/models/hippo_hybrid", "demo/models/hippo_relu", "demo/models/hippo_square1"])]
    model: Vec<PathBuf>,
    /// The scan.
    #[arg(long, default_value = "demo/volumes/images/colin27_left.nii.gz")]
    input: PathBuf,
    /// Links as RATE,RTT; all nine of 100 Mbit/s, 1 and 10 Gbit/s with 0.2, 10 and 40 ms unless given.
    #[arg(long, value_name = "RATE,RTT")]
    link: Vec<LinkSpeed>,
    /// Also writes the rows to this file.
    #[arg(long)]
    json: Option<PathBuf>,
}

/// Values of each step that are checked.
const SAMPLES: usize = 64;

#[derive(Serialize)]
struct Row {
    model: String,
    comparison: &'static str,
    ot: &'static str,
    mbit_per_second: f64,
    round_trip_ms: f64,
    seconds: f64,
    predicted_seconds: f64,
    megabytes_up: f64,
    megabytes_down: f64,
    /// Receives of the client that found nothing there.
    waits: u64,
    /// What `estimate` says, by a probe of this machine just before the run.
    estimated_waits: usize,
    estimated_seconds: f64,
    /// Of both parties in this process, and what `estimate` says of both.
    peak_memory_bytes: Option<u64>,
    estimated_memory_bytes: u64,
    /// Values of all steps that were found right.
    checked_values: usize,
}

/// Prints the table.
pub(crate) fn run(args: Args) -> Result<(), Box<dyn Error>> {
    let rates = ["100Mbit", "1Gbit", "10Gbit"];
    let links = match &args.link[..] {
        [] => {
            let each = |rate| ["0.2ms", "10ms", "40ms"].map(|time| format!("{rate},{time}").parse::<LinkSpeed>());
            rates.iter().flat_map(each).collect::<Result<_, _>>()?
        }
        given => given.to_vec(),
    };
    println!(
        "{:<14} {:<13} {:<11} {:>9} {:>7} {:>9} {:>11} {:>11} {:>8} {:>8} {:>6} {:>6} {:>8} {:>8}",
        "model",
        "comparison",
        "ot",
        "Mbit/s",
        "RTT ms",
        "seconds",
        "predicted s",
        "estimate s",
        "up MB",
        "down MB",
        "waits",
        "est.",
        "peak MB",
        "est."
    );
    let mut rows = Vec::new();
    for path in &args.model {
        let bundle = Bundle::load(path)?;
        let program = Arc::new(bundle.program()?);
        let input = bundle.prepare(&program, &Volume::load(&args.input)?, &args.input)?.integers;
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let table = Table { name, program, input };
        for ot in [Source::SoftSpoken, Source::Silent] {
            for &link in &links {
                rows.push(table.row(ot, link)?);
            }
        }
    }
    if let Some(path) = args.json {
        std::fs::write(&path, serde_json::to_string_pretty(&rows)?).map_err(|e| format!("{}: {e}", path.display()))?;
    }
    Ok(())
}

struct Table {
    name: String,
    program: Arc<Program>,
    input: Vec<i32>,
}

impl Table {
    /// A run over a link, and one in this process for its prediction; silent transfers serve comparisons by transfers.
    fn row(&self, ot: Source, speed: LinkSpeed) -> Result<Row, Box<dyn Error>> {
        let plans = plans(&self.program)?;
        let mut options = Options::new(Device::cpu());
        options.samples = SAMPLES;
        options.ways.ot = ot;
        options.ways.compare = match ot {
            Source::Silent => Comparison::Transfers,
            Source::SoftSpoken => choice::comparison(&self.program, &plans, &options.ways, Some(speed))?,
        };
        let here = self.run(&options, local_pair())?.0;
        let expected = forecast::forecast(&self.program, &plans, &options.ways, speed, &forecast::Probe::run()?)?;
        reset_peak_memory();
        let (seconds, client, checked_values) =
            self.run(&options, link(speed.bits_per_second, speed.round_trip / 2))?;
        let bytes = estimate(&self.program, &plans, &options.ways, LINK_WIDTH)?.total();
        let total = Total::of_client(client.preparation.iter().chain(&client.steps));
        let row = Row {
            model: self.name.clone(),
            comparison: options.ways.compare.name(),
            ot: ot.name(),
            mbit_per_second: speed.bits_per_second / 1e6,
            round_trip_ms: speed.round_trip.as_secs_f64() * 1e3,
            seconds,
            predicted_seconds: choice::over(speed, here, bytes, flights::flights(&self.program, &options.ways)),
            megabytes_up: total.bytes_client_to_server as f64 / 1e6,
            megabytes_down: total.bytes_server_to_client as f64 / 1e6,
            waits: client.waits,
            estimated_waits: expected.waits,
            estimated_seconds: expected.seconds.as_secs_f64(),
            peak_memory_bytes: peak_memory_bytes(),
            estimated_memory_bytes: memory(&self.program, &plans, &options.ways).iter().sum(),
            checked_values,
        };
        println!(
            "{:<14} {:<13} {:<11} {:>9.0} {:>7.1} {:>9.2} {:>11.2} {:>11.2} {:>8.1} {:>8.1} {:>6} {:>6} {:>8.0} {:>8.0}",
            row.model,
            row.comparison,
            row.ot,
            row.mbit_per_second,
            row.round_trip_ms,
            row.seconds,
            row.predicted_seconds,
            row.estimated_seconds,
            row.megabytes_up,
            row.megabytes_down,
            row.waits,
            row.estimated_waits,
            row.peak_memory_bytes.unwrap_or_default() as f64 / 1e6,
            row.estimated_memory_bytes as f64 / 1e6
        );
        Ok(row)
    }

    /// Seconds, what the client has, and how many values of all steps were found right.
    fn run(&self, options: &Options, channels: (Channel, Channel)) -> Result<(f64, Outcome, usize), Box<dyn Error>> {
        let (client, server) = channels;
        let start = Instant::now();
        let (mine, theirs) = std::thread::scope(|scope| {
            let server = scope.spawn(|| Server::new(self.program.clone(), options.clone()).serve(server));
            let client = Client::connect(client, options.clone()).and_then(|c| c.run(&self.input, &mut ()));
            (client, server.join().expect("the server's thread"))
        });
        let seconds = start.elapsed().as_secs_f64();
        let (mine, theirs) = (mine?, theirs?);
        let labels = mine.labels.as_ref().ok_or("the client has no labels")?;
        let (Some(samples), Some(others)) = (&mine.samples, &theirs.samples) else {
            return Err("the run was not sampled".into());
        };
        let checks = sample::check(&self.program, samples, others, labels)?;
        if let Some(wrong) = checks.iter().find(|check| !check.holds()) {
            return Err(format!("a wrong result: {wrong:?}").into());
        }
        let checked = checks.iter().map(|check| check.elements).sum();
        Ok((seconds, mine, checked))
    }
}
