//! `estimate`: what runs of a model cost over links, before there is a run.

use blindvox_models::Bundle;
use blindvox_protocols::infer::session::plans;
use blindvox_protocols::infer::{LinkSpeed, Ways, choice, forecast, memory};
use blindvox_protocols::{Error, Result};
use serde::Serialize;

use crate::args_hosts::{Dims, EstimateArgs};
use crate::input::Done;
use crate::service::admission::gib;
use crate::ui::files;
use crate::ui::screen;

/// Links that are shown where none is named.
const LINKS: [&str; 3] = ["100Mbit,40ms", "1Gbit,10ms", "10Gbit,1ms"];
/// The volume whose cost ends the table.
const LARGE: f64 = 256.0 * 256.0 * 256.0;

/// What `--json` writes.
#[derive(Serialize)]
struct Report {
    model: String,
    voxels: usize,
    memory_bytes_client: u64,
    memory_bytes_server: u64,
    links: Vec<Row>,
    layers: Vec<Layer>,
}

#[derive(Serialize)]
struct Row {
    link: String,
    comparison: &'static str,
    ot: &'static str,
    bytes_client_to_server: u64,
    bytes_server_to_client: u64,
    memory_bytes_client: u64,
    memory_bytes_server: u64,
    waits: usize,
    compute_seconds: f64,
    seconds: f64,
    /// Of a volume of 256^3 voxels, whole.
    large_bytes: f64,
    large_seconds: f64,
}

#[derive(Serialize)]
struct Layer {
    name: String,
    kind: &'static str,
    bytes_client_to_server: u64,
    bytes_server_to_client: u64,
}

/// The `estimate` command.
pub(crate) fn run(args: &EstimateArgs) -> Result<Done> {
    let bundle = Bundle::load(&args.model)?;
    let program = match args.dims {
        Some(Dims(dims)) => bundle.program_for(dims)?,
        None => bundle.program()?,
    };
    let plans = plans(&program)?;
    let probe = forecast::Probe::run()?;
    let voxels: usize = program.grid().iter().product();
    let links = match args.link {
        Some(link) => vec![(format!("{:.0} Mbit/s, {:?}", link.bits_per_second / 1e6, link.round_trip), link)],
        None => LINKS.iter().map(|text| Ok(((*text).to_owned(), text.parse::<LinkSpeed>()?))).collect::<Result<_>>()?,
    };
    let (mut rows, mut ways) = (Vec::new(), Ways::BUNET);
    for (name, link) in links {
        ways = choice::fastest(&program, &plans, choice::all(Ways::BUNET), link)?;
        let cost = forecast::forecast(&program, &plans, &ways, link, &probe)?;
        let [memory_bytes_client, memory_bytes_server] = memory(&program, &plans, &ways);
        let scale = LARGE / voxels as f64;
        rows.push(Row {
            link: name,
            comparison: ways.compare.name(),
            ot: ways.ot.name(),
            bytes_client_to_server: cost.bytes.total().up,
            bytes_server_to_client: cost.bytes.total().down,
            memory_bytes_client,
            memory_bytes_server,
            waits: cost.waits,
            compute_seconds: cost.compute.as_secs_f64(),
            seconds: cost.seconds.as_secs_f64(),
            large_bytes: cost.bytes.total().total() as f64 * scale,
            large_seconds: (cost.seconds.as_secs_f64() - cost.waits as f64 * link.round_trip.as_secs_f64()) * scale,
        });
    }
    let bytes = blindvox_protocols::infer::estimate(&program, &plans, &ways, blindvox_protocols::ot::LINK_WIDTH)?;
    let layers = bytes.steps.iter().map(|s| Layer {
        name: s.name.clone(),
        kind: s.kind,
        bytes_client_to_server: s.bytes.up,
        bytes_server_to_client: s.bytes.down,
    });
    let report = Report {
        model: bundle.name.clone(),
        voxels,
        // Of the links that are shown, whichever takes most.
        memory_bytes_client: rows.iter().map(|r| r.memory_bytes_client).max().unwrap_or_default(),
        memory_bytes_server: rows.iter().map(|r| r.memory_bytes_server).max().unwrap_or_default(),
        links: rows,
        layers: layers.collect(),
    };
    tell(&report);
    if let Some(path) = &args.json {
        let json = serde_json::to_vec_pretty(&report).map_err(|e| Error::Input(format!("{}: {e}", path.display())))?;
        files::stage(path, &json)?.commit()?;
        say!("Wrote {}", path.display());
    }
    Ok(Done::Whole)
}

fn tell(report: &Report) {
    say!("{:<16} {:<14} {:>11} {:>11}", "layer", "kind", "to server", "to client");
    for l in &report.layers {
        let [up, down] = [l.bytes_client_to_server, l.bytes_server_to_client].map(screen::bytes);
        say!("{:<16} {:<14} {up:>11} {down:>11}", l.name, l.kind);
    }
    say!();
    say!(
        "{:<16} {:<12} {:<11} {:>11} {:>11} {:>6} {:>8} {:>8} {:>20}",
        "link",
        "comparison",
        "ot",
        "to server",
        "to client",
        "waits",
        "compute",
        "seconds",
        "256^3 voxels"
    );
    for r in &report.links {
        let [up, down] = [r.bytes_client_to_server, r.bytes_server_to_client].map(screen::bytes);
        let large = format!("{:.0} GB, {:.0} min", r.large_bytes / 1e9, r.large_seconds / 60.0);
        say!(
            "{:<16} {:<12} {:<11} {up:>11} {down:>11} {:>6} {:>8.1} {:>8.1} {large:>20}",
            r.link,
            r.comparison,
            r.ot,
            r.waits,
            r.compute_seconds,
            r.seconds
        );
    }
    say!(
        "memory: {} at the client, {} at the service at most; no disk",
        gib(report.memory_bytes_client),
        gib(report.memory_bytes_server)
    );
    let mut causes: Vec<&Layer> = report.layers.iter().collect();
    causes.sort_by_key(|l| std::cmp::Reverse(l.bytes_client_to_server + l.bytes_server_to_client));
    for l in causes.iter().take(3) {
        say!(
            "{}: {} of {}; {}",
            l.name,
            screen::bytes(l.bytes_client_to_server + l.bytes_server_to_client),
            l.kind,
            advice(l.kind)
        );
    }
}

fn advice(kind: &str) -> &'static str {
    match kind {
        "relu" | "max_pool" => "squares in its place take a tenth (train with them), --comparison transfers a third",
        "square" => "its pairs and openings; fewer channels are the only saving",
        "argmax" => "one comparison a voxel and class but one; fewer classes take less",
        _ => "ciphertexts; fewer channels are the only saving",
    }
}
