//! What TLS costs: the demo's models over a connection on this machine's loopback, with and without it, in turns.
//!
//! Both parties and both transports are in this process; times are wall clock from the first message to the labels, and
//! processor time of all threads, which other work on the machine disturbs less.

use std::error::Error;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use blindvox_engine::Device;
use blindvox_models::data::nifti::Volume;
use blindvox_models::{Bundle, Program};
use blindvox_net::Channel;
use blindvox_net::identity::{Identity, Trust, keygen};
use blindvox_net::transport::tcp::Limits;
use blindvox_net::transport::tls;
use blindvox_protocols::infer::report::Total;
use blindvox_protocols::infer::{Client, Options, Server};
use serde::Serialize;

use crate::process::{cores, cpu_seconds};

/// Options of the table.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Bundles.
    #[arg(long, default_values = ["demo/models/hippo_square1", "demo/models/hippo_hybrid"])]
    model: Vec<PathBuf>,
    /// The scan.
    #[arg(long, default_value = "demo/volumes/images/colin27_left.nii.gz")]
    input: PathBuf,
    /// Runs with and without TLS, in turns, after one of each that warms up.
    #[arg(long, default_value_t = 5)]
    pairs: usize,
    /// Also writes the rows to this file.
    #[arg(long)]
    json: Option<PathBuf>,
}

/// Medians of all pairs.
#[derive(Serialize)]
struct Row {
    model: String,
    threads: usize,
    megabytes: f64,
    tcp_seconds: f64,
    tls_seconds: f64,
    tcp_cpu_seconds: f64,
    tls_cpu_seconds: f64,
    /// Of processor time: with TLS by without, the median of the pairs'.
    ratio: f64,
    checked: bool,
}

const SOON: Duration = Duration::from_secs(10);

/// Prints the table.
pub(crate) fn run(args: Args) -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let ends = Ends::new(folder.path())?;
    println!(
        "{:<15} {:>8} {:>9} {:>9} {:>9} {:>9} {:>7}",
        "model", "MB", "TCP s", "TLS s", "TCP cpu", "TLS cpu", "ratio"
    );
    let mut rows = Vec::new();
    for path in &args.model {
        let bundle = Bundle::load(path)?;
        let program = Arc::new(bundle.program()?);
        let input = bundle.prepare(&program, &Volume::load(&args.input)?, &args.input)?.integers;
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let mut row = Row { model: name, threads: cores(), ..ends.row(&program, &input, args.pairs)? };
        row.checked &= row.megabytes > 0.0;
        println!(
            "{:<15} {:>8.1} {:>9.2} {:>9.2} {:>9.2} {:>9.2} {:>7.3}",
            row.model,
            row.megabytes,
            row.tcp_seconds,
            row.tls_seconds,
            row.tcp_cpu_seconds,
            row.tls_cpu_seconds,
            row.ratio
        );
        rows.push(row);
    }
    if let Some(path) = args.json {
        std::fs::write(&path, serde_json::to_string_pretty(&rows)?).map_err(|e| format!("{}: {e}", path.display()))?;
    }
    match rows.iter().find(|row| !row.checked) {
        Some(row) => Err(format!("{}: labels differ by more than near-ties", row.model).into()),
        None => Ok(()),
    }
}

/// Who both are to each other.
struct Ends {
    client: tls::Client,
    server: tls::Server,
}

/// Wall clock, processor time, bytes and labels of a run.
type Ran = (f64, f64, u64, Vec<u8>);

impl Ends {
    fn new(folder: &Path) -> Result<Self, Box<dyn Error>> {
        let identity = |name: &str| -> Result<Identity, Box<dyn Error>> {
            let path = folder.join(name);
            std::fs::write(&path, keygen(name, 1)?.private.as_bytes())?;
            #[cfg(unix)]
            std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
            Ok(Identity::load(&path)?)
        };
        let (client, server) = (identity("client")?, identity("server")?);
        let trust = Trust::Pin(server.certificate.pin);
        Ok(Self { client: tls::Client::new(&client, &trust)?, server: tls::Server::new(&server, None)? })
    }

    fn channels(&self, secured: bool) -> Result<(Channel, Channel), Box<dyn Error>> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let near = TcpStream::connect(listener.local_addr()?)?;
        let far = listener.accept()?.0;
        if !secured {
            return Ok((Channel::tcp(near)?, Channel::tcp(far)?));
        }
        let server = self.server.clone();
        let far = std::thread::spawn(move || server.meet(far, SOON));
        let near = self.client.meet(near, SOON)?;
        let far = far.join().expect("no panic")?;
        Ok((Channel::tls(near, Limits::between_hosts())?, Channel::tls(far, Limits::between_hosts())?))
    }

    fn once(&self, program: &Arc<Program>, input: &[i32], secured: bool) -> Result<Ran, Box<dyn Error>> {
        let (start, cpu) = (Instant::now(), cpu_seconds());
        let (client, server) = self.channels(secured)?;
        let options = Options::new(Device::cpu());
        let (mine, theirs) = std::thread::scope(|scope| {
            let server = scope.spawn(|| Server::new(program.clone(), options.clone()).serve(server));
            let client = Client::connect(client, options.clone()).and_then(|c| c.run(input, &mut ()));
            (client, server.join().expect("the server's thread"))
        });
        let outcome = mine?;
        theirs?;
        let total = Total::of_client(outcome.preparation.iter().chain(&outcome.steps));
        let bytes = total.bytes_client_to_server + total.bytes_server_to_client;
        let labels = outcome.labels.ok_or("the client has no labels")?;
        Ok((start.elapsed().as_secs_f64(), cpu_seconds() - cpu, bytes, labels))
    }

    fn row(&self, program: &Arc<Program>, input: &[i32], pairs: usize) -> Result<Row, Box<dyn Error>> {
        let (_, _, bytes, expected) = self.once(program, input, false)?;
        self.once(program, input, true)?;
        let (mut runs, mut ratios, mut checked) = ([Vec::new(), Vec::new()], Vec::new(), true);
        for _ in 0..pairs.max(1) {
            let pair = [self.once(program, input, false)?, self.once(program, input, true)?];
            ratios.push(pair[1].1 / pair[0].1);
            for (runs, (seconds, cpu, _, labels)) in runs.iter_mut().zip(pair) {
                let differing = labels.iter().zip(&expected).filter(|(a, b)| a != b).count();
                checked &= labels.len() == expected.len() && differing * 1000 <= labels.len();
                runs.push((seconds, cpu));
            }
        }
        let wall = |runs: &[(f64, f64)]| median(runs.iter().map(|run| run.0).collect());
        let cpu = |runs: &[(f64, f64)]| median(runs.iter().map(|run| run.1).collect());
        Ok(Row {
            model: String::new(),
            threads: 0,
            megabytes: bytes as f64 / 1e6,
            tcp_seconds: wall(&runs[0]),
            tls_seconds: wall(&runs[1]),
            tcp_cpu_seconds: cpu(&runs[0]),
            tls_cpu_seconds: cpu(&runs[1]),
            ratio: median(ratios),
            checked,
        })
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values[values.len() / 2]
}
