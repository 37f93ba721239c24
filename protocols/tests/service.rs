//! A service and its client over mutual TLS, in two processes and in one: what they exchange, what the client holds, and what
//! ends it.

use std::collections::HashMap;
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use blindvox_engine::Device;
use blindvox_engine::garble::GateHash;
use blindvox_models::format::bundle::{MODEL_FILE, WEIGHTS_FILE};
use blindvox_models::{ModelCard, Program, Step, testing as common};
use blindvox_net::channel::Canceller;
use blindvox_net::identity::{Identity, Trust, keygen};
use blindvox_net::transport::local;
use blindvox_net::transport::tcp::Limits;
use blindvox_net::transport::tls;
use blindvox_net::{Channel, Code, Refusal};
use blindvox_protocols::infer::session::plans;
use blindvox_protocols::infer::{Comparison, Estimate, Observer, Options, Outcome, Randomness, Source, Ways, estimate};
use blindvox_protocols::ot::LINK_WIDTH;
use blindvox_protocols::service::{Accepts, Admission, Host, Listed, Order, RunRequest, Visit, serve};
use blindvox_protocols::{Error, Result};

#[path = "common/memory.rs"]
mod memory;

const SEED: u64 = 7;
const SOON: Duration = Duration::from_secs(20);

/// A service of the tiny network for whoever comes.
struct Tiny {
    program: Arc<Program>,
    card: ModelCard,
    randomness: Randomness,
    ended: Mutex<Vec<String>>,
    /// Steps that began here.
    begun: Steps,
}

/// Counts steps that begin, and gives the run up before one of them.
#[derive(Clone, Default)]
struct Steps {
    begun: Arc<AtomicUsize>,
    cancel: Option<(usize, Canceller)>,
}

impl Observer for Steps {
    fn begin(&mut self, _: &str, _: &str) {
        let at = self.begun.fetch_add(1, Ordering::SeqCst);
        if let Some((when, canceller)) = &self.cancel
            && at == *when
        {
            canceller.cancel();
        }
    }
}

impl Tiny {
    fn new(randomness: Randomness) -> Self {
        let bundle = common::tiny().calibrate();
        let program = bundle.program().unwrap();
        let card = ModelCard::of(&bundle, &program, "0".repeat(64));
        Self { program: Arc::new(program), card, randomness, ended: Mutex::default(), begun: Steps::default() }
    }
}

impl Host for Tiny {
    type Permit = ();

    fn models(&self) -> Vec<Listed> {
        vec![Listed { name: "tiny".to_owned(), digest: self.card.digest.clone() }]
    }

    fn card(&self, model: &str) -> std::result::Result<String, Refusal> {
        if model != "tiny" {
            return Err(Refusal::new(Code::NoSuchModel, "only tiny"));
        }
        Ok(serde_json::to_string(&self.card).unwrap())
    }

    fn admit(
        &self,
        _: &RunRequest,
        accepts: &Accepts,
        queued: &mut dyn FnMut(u32) -> Result<()>,
    ) -> Result<Admission<()>> {
        queued(1)?;
        let mut options = Options { randomness: self.randomness, ..Options::new(Device::cpu()) };
        options.gate_hash = accepts.gate_hashes().next().expect("one");
        options.ways.compare = accepts.comparisons().next().expect("one");
        options.ways.ot = accepts.sources().next().expect("one");
        Ok(Admission { run: 1, program: self.program.clone(), options, permit: () })
    }

    fn observer(&self, _: u64) -> Box<dyn Observer + '_> {
        Box::new(self.begun.clone())
    }

    fn ended(&self, (): (), _: Duration, outcome: std::result::Result<[u64; 2], &Error>) {
        self.ended.lock().unwrap().push(outcome.err().map_or_else(|| "done".to_owned(), ToString::to_string));
    }
}

fn accepts(comparison: Comparison) -> Accepts {
    Accepts::new(GateHash::default(), Some(comparison), Some(Source::SoftSpoken), None)
}

fn options(randomness: Randomness) -> Options {
    Options { randomness, ..Options::new(Device::cpu()) }
}

/// The input of the tiny network, prepared.
fn order<'a>(card: &'a ModelCard, volume: &'a [i32]) -> Order<'a> {
    Order { model: "tiny", card, volume, grid: card.input.dims }
}

fn input() -> Vec<i32> {
    common::tiny().program().1
}

/// Runs of the client's, one after the other over one connection, and what was waited for.
fn runs(channel: Channel, comparison: Comparison, randomness: Randomness, count: usize) -> Result<Vec<Outcome>> {
    let mut visit = Visit::begin(channel, accepts(comparison))?;
    assert_eq!(visit.models()?[0].name, "tiny");
    let card = visit.card("tiny")?;
    let mut outcomes = Vec::new();
    for _ in 0..count {
        let outcome;
        let mut places = Vec::new();
        (outcome, visit) =
            visit.run(order(&card, &input()), options(randomness), &mut |place| places.push(place), &mut ())?;
        assert_eq!(places, [1]);
        outcomes.push(outcome);
    }
    Ok(outcomes)
}

/// Two ends in this process that take each other for hosts.
fn hosts() -> (Channel, Channel) {
    let (client, server) = local::pair();
    (Channel::new(client), Channel::new(server))
}

fn identities() -> (Identity, Identity, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let identity = |name: &str| {
        let made = keygen(name, 2).unwrap();
        let path = folder.path().join(format!("{name}.pem"));
        std::fs::write(&path, made.private.as_bytes()).unwrap();
        std::fs::write(path.with_extension("crt"), &made.public).unwrap();
        #[cfg(unix)]
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        Identity::load(&path).unwrap()
    };
    (identity("hospital"), identity("service"), folder)
}

#[test]
fn a_connection_serves_for_many_runs_with_the_same_keys() {
    for comparison in [Comparison::SignSelect, Comparison::Transfers, Comparison::FullCircuit] {
        let (near, far) = hosts();
        let host = Tiny::new(Randomness::System);
        thread::scope(|scope| {
            let there = scope.spawn(|| serve(far, &host));
            let outcomes = runs(near, comparison, Randomness::System, 3).unwrap();
            let expected =
                blindvox_models::plain::run(&host.program, &input(), blindvox_models::Rounding::Nearest).labels;
            for outcome in &outcomes {
                let labels = outcome.labels.as_ref().unwrap();
                let differing = labels.iter().zip(&expected).filter(|(a, b)| a != b).count();
                assert!(differing * 20 < labels.len(), "{differing} of {} labels differ", labels.len());
            }
            // Keys and base transfers are made once.
            let setup =
                |outcome: &Outcome| outcome.preparation[0].traffic.sent + outcome.preparation[0].traffic.received;
            assert!(setup(&outcomes[0]) > 500_000 && setup(&outcomes[1]) < 20_000, "{}", setup(&outcomes[1]));
            // What was estimated is what went over, checks of transfers included.
            let ways = Ways { compare: comparison, ..Ways::BUNET };
            let expected = estimate(&host.program, &plans(&host.program).unwrap(), &ways, LINK_WIDTH).unwrap();
            let counted = Estimate::counted(&outcomes[0]);
            assert_eq!((&counted.steps, counted.preprocessing), (&expected.steps, expected.preprocessing));
            let [counted, expected] = [counted, expected].map(|e| e.total().total() as f64);
            assert!((counted / expected - 1.0).abs() < 0.01, "{counted} bytes, {expected} were expected");
            there.join().unwrap().unwrap();
        });
        assert_eq!(*host.ended.lock().unwrap(), ["done", "done", "done"]);
    }
}

const ROLE: &str = "SERVICE_TEST_FOLDER";

/// Not a test of its own: the service's process.
#[test]
fn the_service_alone() {
    let Some(folder) = std::env::var_os(ROLE).map(PathBuf::from) else { return };
    let server = tls::Server::new(&Identity::load(&folder.join("service.pem")).unwrap(), None).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    std::fs::write(folder.join("part"), listener.local_addr().unwrap().to_string()).unwrap();
    std::fs::rename(folder.join("part"), folder.join("address")).unwrap();
    let secured = server.meet(listener.accept().unwrap().0, SOON).unwrap();
    let channel = Channel::tls(secured, Limits::between_hosts()).unwrap();
    let _ = serve(channel, &Tiny::new(Randomness::FixedAcrossProcesses(SEED)));
}

fn start(folder: &tempfile::TempDir) -> (std::process::Child, TcpStream) {
    let mut program = Command::new(std::env::current_exe().unwrap());
    program.args(["--exact", "the_service_alone", "--nocapture"]).env(ROLE, folder.path()).stdout(Stdio::null());
    let child = program.spawn().unwrap();
    let address = loop {
        match std::fs::read_to_string(folder.path().join("address")) {
            Ok(address) => break address,
            Err(_) => thread::sleep(Duration::from_millis(5)),
        }
    };
    (child, TcpStream::connect(address).unwrap())
}

#[test]
fn two_processes_give_the_labels_of_one_under_a_test_seed() {
    let (hospital, service, folder) = identities();
    let (mut child, stream) = start(&folder);
    let client = tls::Client::new(&hospital, &Trust::Pin(service.certificate.pin)).unwrap();
    let channel = Channel::tls(client.meet(stream, SOON).unwrap(), Limits::between_hosts()).unwrap();
    let seed = Randomness::FixedAcrossProcesses(SEED);
    let outcomes = runs(channel, Comparison::SignSelect, seed, 2).unwrap();
    assert!(child.wait().unwrap().success());
    let (near, far) = hosts();
    let host = Tiny::new(seed);
    let here = thread::scope(|scope| {
        scope.spawn(|| serve(far, &host));
        runs(near, Comparison::SignSelect, seed, 2).unwrap()
    });
    for (there, here) in outcomes.iter().zip(&here) {
        assert_eq!(there.labels, here.labels);
        let bytes = |o: &Outcome| o.steps.iter().map(|s| (s.traffic.sent, s.traffic.received)).collect::<Vec<_>>();
        assert_eq!(bytes(there), bytes(here));
    }
}

#[test]
fn a_killed_service_ends_the_run_in_one_line() {
    let (hospital, service, folder) = identities();
    let (mut child, stream) = start(&folder);
    let client = tls::Client::new(&hospital, &Trust::Pin(service.certificate.pin)).unwrap();
    let channel = Channel::tls(client.meet(stream, SOON).unwrap(), Limits::between_hosts()).unwrap();
    let mut visit = Visit::begin(channel, accepts(Comparison::SignSelect)).unwrap();
    let card = visit.card("tiny").unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    let result = visit.run(order(&card, &input()), options(Randomness::System), &mut |_| (), &mut ());
    assert!(matches!(result, Err(Error::Connection(_))));
}

/// The client's process has the card and the architecture; no weight comes to it. Its memory is searched for the program's
/// weights after a run.
#[test]
fn the_client_holds_no_weights() {
    let Some(folder) = std::env::var_os("SERVICE_TEST_WEIGHTS").map(PathBuf::from) else {
        let (_, _, folder) = identities();
        // The service is this process, the client another, so that its memory is its own.
        let program = Tiny::new(Randomness::System).program;
        let weights: Vec<Vec<u8>> = program
            .steps
            .iter()
            .filter_map(|step| match step {
                Step::Linear(linear) if linear.weights.len() >= 16 => {
                    let bytes = linear.weights[..16].iter().flat_map(|w| w.to_le_bytes());
                    Some(bytes.map(|b| b ^ 0x5a).collect())
                }
                _ => None,
            })
            .collect();
        assert!(weights.len() >= 2);
        std::fs::write(folder.path().join("weights"), weights.concat()).unwrap();
        let server = tls::Server::new(&Identity::load(&folder.path().join("service.pem")).unwrap(), None).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        std::fs::write(folder.path().join("address"), listener.local_addr().unwrap().to_string()).unwrap();
        let mut client = Command::new(std::env::current_exe().unwrap());
        client.args(["--exact", "the_client_holds_no_weights"]).env("SERVICE_TEST_WEIGHTS", folder.path());
        let mut client = client.stdout(Stdio::null()).spawn().unwrap();
        let secured = server.meet(listener.accept().unwrap().0, SOON).unwrap();
        serve(Channel::tls(secured, Limits::between_hosts()).unwrap(), &Tiny::new(Randomness::System)).unwrap();
        assert!(client.wait().unwrap().success());
        // Nor is there a file that could hold them.
        let files = std::fs::read_dir(folder.path()).unwrap().map(|f| f.unwrap().file_name().into_string().unwrap());
        let files: Vec<_> = files.filter(|f| [MODEL_FILE, WEIGHTS_FILE].contains(&f.as_str())).collect();
        assert!(files.is_empty(), "{files:?}");
        return;
    };
    let client = Identity::load(&folder.join("hospital.pem")).unwrap();
    let trust = Trust::parse(folder.join("service.crt").to_str().unwrap(), None).unwrap();
    let stream = TcpStream::connect(std::fs::read_to_string(folder.join("address")).unwrap()).unwrap();
    let secured = tls::Client::new(&client, &trust).unwrap().meet(stream, SOON).unwrap();
    let mut visit =
        Visit::begin(Channel::tls(secured, Limits::between_hosts()).unwrap(), accepts(Comparison::SignSelect)).unwrap();
    // Built from the card alone.
    let card = visit.card("tiny").unwrap();
    let voxels = card.input.elements();
    let input: Vec<i32> = (0..voxels as i32).map(|i| i % 50 - 25).collect();
    let (outcome, visit) = visit.run(order(&card, &input), options(Randomness::System), &mut |_| (), &mut ()).unwrap();
    assert_eq!(outcome.labels.unwrap().len(), card.input.voxels());
    // What is looked for lies here in another form; a value that is known to be here is found.
    let masked = std::fs::read(folder.join("weights")).unwrap();
    let pattern = |masked: &[u8]| {
        let plain = zeroize::Zeroizing::new(masked.iter().map(|b| b ^ 0x5a).collect::<Vec<u8>>());
        memory::Pattern::new("weights of a layer", &plain)
    };
    let patterns: Vec<_> = masked.chunks(64).map(pattern).collect();
    let known: Vec<u8> = input[..16].iter().flat_map(|x| x.to_le_bytes()).collect();
    let there = memory::Pattern::new("the input", &known);
    if let Some(counts) = memory::find(&[there]) {
        assert!(counts[0].1 >= 1, "the looking itself finds what is there");
        let counts = memory::find(&patterns).unwrap();
        assert!(counts.iter().all(|(_, count)| *count == 0), "{counts:?}");
    }
    drop(visit);
}

#[test]
fn refusals_and_nonsense_end_the_connection_with_one_line() {
    let meet = |act: &dyn Fn(Channel) -> Error| {
        let (near, far) = hosts();
        let host = Tiny::new(Randomness::System);
        thread::scope(|scope| {
            let there = scope.spawn(|| serve(far, &host));
            let told = act(near).to_string();
            (told, there.join().unwrap().err().map(|e| e.to_string()))
        })
    };
    let (told, _) =
        meet(&|near| Visit::begin(near, accepts(Comparison::SignSelect)).unwrap().card("other").unwrap_err());
    assert_eq!(told, "refused: only tiny");
    for bytes in [vec![], vec![1; 300], b"GET / HTTP/1.1".to_vec(), vec![0xff; 200]] {
        let (told, found) = meet(&|mut near| {
            near.send(bytes.clone()).unwrap();
            near.recv().unwrap_err().into()
        });
        assert!(told.contains("not of the protocol"), "{told}");
        assert!(found.unwrap().starts_with("protocol: "), "{bytes:?}");
    }
}

/// A run that is given up ends at both ends with the next message: no further step begins at the client, and at the service
/// none beyond the one that it is at or enters, whichever step it is.
#[test]
fn a_cancelled_run_goes_no_further() {
    for comparison in [Comparison::SignSelect, Comparison::Transfers] {
        let steps = Tiny::new(Randomness::System).program.steps.len();
        for when in 0..steps {
            let (near, far) = hosts();
            let host = Tiny::new(Randomness::System);
            let (result, begun) = thread::scope(|scope| {
                let there = scope.spawn(|| serve(far, &host));
                let mut visit = Visit::begin(near, accepts(comparison)).unwrap();
                let card = visit.card("tiny").unwrap();
                let mut steps = Steps { cancel: Some((when, visit.canceller())), ..Steps::default() };
                let begun = steps.begun.clone();
                let result =
                    visit.run(order(&card, &input()), options(Randomness::System), &mut |_| (), &mut steps).map(drop);
                assert!(matches!(there.join().unwrap(), Err(Error::Cancelled)));
                (result, begun.load(Ordering::SeqCst))
            });
            assert!(matches!(result, Err(Error::Cancelled)), "{:?}", result.err());
            let there = host.begun.begun.load(Ordering::SeqCst);
            // Steps without messages pass at once: none stand between two that have some but one.
            assert!(begun <= when + 2 && there <= when + 3, "given up before step {when}: {begun} here, {there} there");
            assert_eq!(*host.ended.lock().unwrap(), [Error::Cancelled.to_string()]);
        }
    }
}

/// A client holds the architecture to what it asked for and to the card.
#[test]
fn an_architecture_of_another_grid_or_of_other_classes_is_an_error() {
    let run = |edit: &dyn Fn(&mut ModelCard), grid: [usize; 3]| {
        let (near, far) = hosts();
        let host = Tiny::new(Randomness::System);
        thread::scope(|scope| {
            scope.spawn(|| serve(far, &host).err());
            let mut visit = Visit::begin(near, accepts(Comparison::SignSelect)).unwrap();
            let mut card = visit.card("tiny").unwrap();
            edit(&mut card);
            let volume = vec![1; grid.iter().product()];
            let order = Order { model: "tiny", card: &card, volume: &volume, grid };
            let ended = visit.run(order, options(Randomness::System), &mut |_| (), &mut ());
            ended.map(|(outcome, _)| outcome.labels.unwrap_or_default().len()).map_err(|e| e.to_string())
        })
    };
    assert_eq!(run(&|_| (), [8; 3]), Ok(512));
    let text = run(&|_| (), [16, 8, 8]).unwrap_err();
    assert!(text.contains("labels a grid of [8, 8, 8], asked for was [16, 8, 8]"), "{text}");
    for edit in [(|c| c.input.scale_bits += 1) as fn(&mut ModelCard), |c| c.input.channels = 2] {
        assert!(run(&edit, [8; 3]).unwrap_err().contains("another input"));
    }
    for edit in [(|c| c.gives_class = true) as fn(&mut ModelCard), |c| drop(c.classes.pop())] {
        assert!(run(&edit, [8; 3]).unwrap_err().contains("other classes"));
    }
    let windows = |card: &mut ModelCard| {
        card.preparation = serde_json::from_value(serde_json::json!({
            "orientation": "RAS", "normalise": "z_score",
            "window": {"size": [8, 8, 8], "overlap": 0.5, "blend": "gaussian"},
        }))
        .unwrap();
    };
    assert!(run(&windows, [8; 3]).unwrap_err().contains("another input"));
}

/// Any bytes as a greeting or a request decode or are an error; those that decode are short.
#[test]
fn mutated_greetings_never_panic() {
    use blindvox_protocols::service::messages::{Hello, Reply, Request, Welcome, decode};
    let (mut near, mut far) = hosts();
    thread::spawn(move || Visit::begin(near_of(&mut near), accepts(Comparison::SignSelect)).map(drop));
    let hello = far.recv().unwrap();
    let mut numbers = common::Numbers(3);
    let mut decoded = HashMap::<&str, usize>::new();
    for _ in 0..200_000 {
        let mut bytes = hello.clone();
        for _ in 0..3 {
            let at = (f64::from(numbers.draw().abs()) * 1e6) as usize % bytes.len();
            bytes[at] ^= 1 << ((f64::from(numbers.draw().abs()) * 1e6) as usize % 8);
        }
        bytes.truncate(1 + (f64::from(numbers.draw().abs()) * 1e6) as usize % (2 * bytes.len()));
        *decoded.entry("hello").or_default() += usize::from(decode::<Hello>(&bytes, 256, "a hello").is_ok());
        let _ = decode::<Welcome>(&bytes, 256, "a welcome");
        let _ = decode::<Request>(&bytes, 4096, "a request");
        let _ = decode::<Reply>(&bytes, 300 << 10, "a reply");
    }
    assert!(decoded["hello"] > 1000, "{decoded:?}");
}

fn near_of(channel: &mut Channel) -> Channel {
    std::mem::replace(channel, hosts().0)
}
