//! Two hosts: identities, a service in a process of its own, and clients of it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use super::*;

/// How long anything may take here.
const LONG: Duration = Duration::from_secs(120);

/// A folder with a service's and two hospitals' identities, a list of one of them, a model and a scan.
pub(crate) fn two_hosts(more: &str) -> tempfile::TempDir {
    let t = copy();
    let path = t.path();
    for name in ["service", "hospital", "stranger"] {
        let output = run_in(path, &["keygen", "--name", name]);
        assert!(output.status.success(), "{}", text(&output.stderr));
    }
    allow(path, "runs_per_day = 50");
    let config = format!(
        "listen = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\nidentity = \"service.pem\"\nclients = \"clients.toml\"\n\
         audit = \"audit.jsonl\"\n{more}\n[[model]]\nname = \"tiny\"\npath = \".\"\n"
    );
    std::fs::write(path.join("service.toml"), config).unwrap();
    t
}

fn pin(folder: &Path, name: &str) -> String {
    text(&run_in(folder, &["fingerprint", &format!("{name}.crt")]).stdout).trim().to_owned()
}

fn allow(folder: &Path, more: &str) {
    let pin = pin(folder, "hospital");
    let list = format!("[[client]]\nname = \"hospital-a\"\npin = \"{pin}\"\nmodels = [\"tiny\"]\n{more}\n");
    std::fs::write(folder.join("clients.toml"), list).unwrap();
}

/// A running service, its address and that of its admin's socket.
pub(crate) struct Serving {
    child: Child,
    pub(crate) address: String,
    admin: String,
}

impl Serving {
    pub(crate) fn start(folder: &Path) -> Self {
        let mut child = program(folder, &["serve", "--config", "service.toml"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        let line = lines.find_map(|l| l.ok().filter(|l| l.starts_with("serving on "))).expect("a line");
        let word = |after: &str| line.split(after).nth(1).unwrap().split([',', ' ']).next().unwrap().to_owned();
        Self { child, address: word("serving on "), admin: word("http://") }
    }

    fn get(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(&self.admin).unwrap();
        stream.write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes()).unwrap();
        let mut said = String::new();
        stream.read_to_string(&mut said).unwrap();
        said
    }

    /// The value of a metric; 0 where it isn't there.
    pub(crate) fn metric(&self, name: &str) -> u64 {
        let metrics = self.get("/metrics");
        metrics.lines().find_map(|l| l.strip_prefix(name)?.trim().parse().ok()).unwrap_or_default()
    }

    fn signal(&self, signal: &str) {
        let status = Command::new("kill").args([signal, &self.child.id().to_string()]).status().unwrap();
        assert!(status.success());
    }

    fn threads(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/task", self.child.id())).map_or(0, Iterator::count)
    }

    /// Ends it in peace; what it logged.
    pub(crate) fn end(mut self) -> String {
        self.signal("-TERM");
        let mut log = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut log).unwrap();
        assert_eq!(self.child.wait().unwrap().code(), Some(0), "{log}");
        log
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
    }
}

/// The flags of a client.
fn remote<'a>(address: &'a str, identity: &'a str, trust: &'a str) -> Vec<&'a str> {
    vec![
        "segment",
        "--server",
        address,
        "--identity",
        identity,
        "--trust",
        trust,
        "-i",
        "scan.nii.gz",
        "-o",
        "out.nii.gz",
    ]
}

pub(crate) fn ask(folder: &Path, address: &str, more: &[&str]) -> Output {
    run_in(folder, &[&remote(address, "hospital.pem", "service.crt")[..], more].concat())
}

/// Asserts one line on standard error with this start, nothing on standard output, and no output file.
pub(crate) fn one_line(folder: &Path, output: &Output, code: i32, start: &str) {
    let message = text(&output.stderr);
    let lines: Vec<_> = message.lines().filter(|l| !l.starts_with("warning: ")).collect();
    assert_eq!((output.status.code(), lines.len()), (Some(code), 1), "{message}");
    assert!(lines[0].starts_with(start), "{message:?} doesn't start with {start:?}");
    assert!(!folder.join("out.nii.gz").exists());
}

#[test]
fn identities_are_made_once_and_kept_private() {
    use std::os::unix::fs::PermissionsExt;

    let t = scratch();
    let t = t.path();
    let made = run_in(t, &["keygen", "--name", "service"]);
    assert!(text(&made.stdout).starts_with("bv1:"), "{}", text(&made.stderr));
    assert_eq!(text(&made.stdout).lines().next(), Some(&*pin(t, "service")));
    let mode = |name: &str| t.join(name).metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("service.pem"), mode("service.crt")), (0o600, 0o644));
    refused(t, &run_in(t, &["keygen", "--name", "service"]), 2, &["service.pem", "--force"]);
    let before = pin(t, "service");
    std::fs::set_permissions(t.join("service.pem"), std::fs::Permissions::from_mode(0o644)).unwrap();
    let args = ["models", "--server", "127.0.0.1:1", "--identity", "service.pem", "--trust", "service.crt"];
    refused(t, &run_in(t, &args), 2, &["service.pem", "mode 0644", "expected 0600"]);
    assert!(run_in(t, &["keygen", "--name", "service", "--force"]).status.success());
    assert_eq!(mode("service.pem"), 0o600);
    assert_ne!(pin(t, "service"), before);
    refused(t, &run_in(t, &["keygen", "--name", "../a"]), 2, &["the name"]);
    refused(t, &run_in(t, &["fingerprint", "none.crt"]), 2, &["none.crt"]);
}

#[test]
fn a_client_gets_its_labels_and_the_service_its_records() {
    let t = two_hosts("memory = \"4GiB\"");
    let t = t.path();
    let check = run_in(t, &["serve", "--config", "service.toml", "--check"]);
    assert!(check.status.success() && text(&check.stdout).contains("all is well"), "{}", text(&check.stderr));
    let service = Serving::start(t);
    assert!(service.get("/livez").starts_with("HTTP/1.1 200") && service.get("/other").starts_with("HTTP/1.1 404"));
    assert!(run_in(t, &["health", "--admin", &service.admin]).status.success());
    let models =
        run_in(t, &["models", "--server", &service.address, "--identity", "hospital.pem", "--trust", "service.crt"]);
    assert!(text(&models.stdout).starts_with("tiny: "), "{}", text(&models.stderr));
    for model in [&["-m", "tiny"][..], &["--comparison", "transfers"], &["--ot", "silent", "--comparison", "transfers"]]
    {
        let output = ask(t, &service.address, &[model, &["--report", "report.json"]].concat());
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        let report: Value = serde_json::from_slice(&std::fs::read(t.join("report.json")).unwrap()).unwrap();
        assert!(
            report["total"]["bytes_client_to_server"].as_u64().unwrap() > 10_000
                && report["waits"].as_u64().unwrap() > 0
        );
        assert!(report["digest"].as_str().unwrap().len() == 64 && report["learned"]["server"].is_string());
        let silent = model.contains(&"silent");
        let (ot, bits) = if silent { ("silent", 117) } else { ("softspoken", 119) };
        assert_eq!((&report["parameters"]["ot"], &report["parameters"]["security_bits"]), (&json!(ot), &json!(bits)));
        let labels = LabelMap::load(&t.join("out.nii.gz")).unwrap();
        // Rounding differs from run to run, at near-ties alone.
        assert!(segment(t, &["-o", "here.nii.gz", "-q"]).status.success());
        let here = LabelMap::load(&t.join("here.nii.gz")).unwrap();
        let differing = labels.data.iter().zip(&here.data).filter(|(a, b)| a != b).count();
        assert!(differing * 20 < here.data.len(), "{differing} of {}", here.data.len());
        std::fs::remove_file(t.join("out.nii.gz")).unwrap();
    }
    assert_eq!(service.metric("blindvox_runs_total{model=\"tiny\",outcome=\"done\"}"), 3);
    assert!(service.metric("blindvox_reply_coefficients_total{client=\"hospital-a\"}") > 1000);
    assert_eq!((service.metric("blindvox_running"), service.metric("blindvox_memory_reserved_bytes")), (0, 0));
    let log = service.end();
    assert!(log.contains("the service ends") && !log.contains("scan"), "{log}");
    let audit = run_in(t, &["audit", "audit.jsonl"]);
    assert!(text(&audit.stdout).contains("3 lines"), "{}", text(&audit.stderr));
    let spoilt = std::fs::read_to_string(t.join("audit.jsonl")).unwrap().replacen("hospital-a", "hospital-b", 1);
    std::fs::write(t.join("audit.jsonl"), spoilt).unwrap();
    refused(t, &run_in(t, &["audit", "audit.jsonl"]), 2, &["line 2", "does not follow"]);
}

#[test]
fn who_is_not_let_in_is_told_why() {
    let t = two_hosts("memory = \"4GiB\"");
    let t = t.path();
    let service = Serving::start(t);
    let at = &service.address;
    // Another service than the one that is trusted.
    let (ours, other) = (pin(t, "service"), pin(t, "stranger"));
    let wrong = run_in(t, &remote(at, "hospital.pem", "stranger.crt"));
    one_line(t, &wrong, 2, &format!("error: {at} presented {ours}, expected {other}: not the service you trust"));
    // A client that the service doesn't know.
    let wrong = run_in(t, &remote(at, "stranger.pem", &ours));
    one_line(t, &wrong, 3, &format!("refused: this client ({other}) is not in the service's list"));
    let wrong = ask(t, at, &["-m", "spleen"]);
    one_line(t, &wrong, 3, "refused: model \"spleen\": not served to this client, which may ask for: tiny");
    one_line(
        t,
        &ask(t, "127.0.0.1:1", &["--retries", "0"]),
        4,
        "error: connect to 127.0.0.1:1: connection refused (is `blindvox serve` running",
    );
    one_line(t, &ask(t, at, &["--compare"]), 2, "error: --compare needs the model on this machine");
    one_line(
        t,
        &run_in(t, &["segment", "--server", at, "-i", "scan.nii.gz", "-o", "out.nii.gz"]),
        2,
        "error: --identity is missing",
    );
    // Plain talk, and none.
    let mut stream = TcpStream::connect(at).unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    let _ = stream.read_to_end(&mut Vec::new());
    // The list is read anew.
    allow(t, "runs_per_day = 1");
    service.signal("-HUP");
    std::thread::sleep(Duration::from_millis(300));
    assert!(ask(t, at, &["-q"]).status.success());
    std::fs::remove_file(t.join("out.nii.gz")).unwrap();
    one_line(t, &ask(t, at, &["-q"]), 3, "refused: client \"hospital-a\" has had its 1 runs of today");
    std::fs::write(t.join("clients.toml"), "").unwrap();
    service.signal("-HUP");
    std::thread::sleep(Duration::from_millis(300));
    one_line(t, &ask(t, at, &["-q"]), 3, "refused: this client");
    assert!(service.metric("blindvox_refused_total{code=\"unknown_client\"}") >= 2);
    assert!(service.metric("blindvox_handshake_failures_total{why=\"connection\"}") >= 1);
    let log = service.end();
    assert!(log.contains("greeting: "), "{log}");
}

#[test]
fn bad_configurations_are_one_line() {
    let t = two_hosts("memory = \"4GiB\"");
    let t = t.path();
    let check = |from: &str, to: &str| {
        let good = std::fs::read_to_string(t.join("service.toml")).unwrap();
        std::fs::write(t.join("bad.toml"), good.replace(from, to)).unwrap();
        run_in(t, &["serve", "--config", "bad.toml", "--check"])
    };
    refused(t, &check("listen", "listens"), 2, &["bad.toml", "listens"]);
    refused(t, &check("service.pem", "none.pem"), 2, &["none.pem"]);
    refused(t, &check("path = \".\"", "path = \"none\""), 2, &["none"]);
    refused(t, &check("path = \".\"", "path = \".\"\npresets = [\"fast\"]"), 2, &["bad.toml", "fast"]);
    refused(t, &check("4GiB", "16MiB"), 2, &["a run takes about", "memory is"]);
    std::fs::write(t.join("clients.toml"), "[[client]]\nname = \"a\"\nmodels = \"*\"\npin = \"bv1:A\"").unwrap();
    refused(t, &check("listen", "listen"), 2, &["clients.toml", "client \"a\"", "fingerprint"]);
}

/// Waits until something holds.
fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < LONG, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn eight_clients_on_two_places_finish_or_are_refused() {
    let t = two_hosts("memory = \"4GiB\"\nsessions = 2\nqueue = 3");
    let path = t.path();
    let service = Serving::start(path);
    let before = service.threads();
    let outputs: Vec<Output> = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..8)
            .map(|i| {
                let (address, name) = (&service.address, format!("out{i}.nii.gz"));
                scope.spawn(move || {
                    let mut args = remote(address, "hospital.pem", "service.crt");
                    *args.last_mut().unwrap() = &name;
                    run_in(path, &args)
                })
            })
            .collect();
        clients.into_iter().map(|c| c.join().unwrap()).collect()
    });
    let (mut done, mut busy) = (0, 0);
    for output in &outputs {
        match output.status.code() {
            Some(0) => done += 1,
            Some(3) => {
                assert!(text(&output.stderr).contains("refused: busy, 3 runs wait; try again in about"));
                busy += 1;
            }
            code => panic!("{code:?}: {}", text(&output.stderr)),
        }
    }
    assert!(done + busy == 8 && done >= 2, "{done} done");
    until("no thread and no memory is left", || {
        service.threads() <= before && service.metric("blindvox_memory_reserved_bytes") == 0
    });
    service.end();
}

/// Carries bytes between a client and the service, and does something to the connection once `after` have passed.
fn proxy(to: &str, after: usize, act: fn(&TcpStream, &TcpStream) -> bool) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, to) = (listener.local_addr().unwrap().to_string(), to.to_owned());
    std::thread::spawn(move || {
        // The first connection only asks for the card.
        for (number, near) in listener.incoming().flatten().enumerate() {
            let far = TcpStream::connect(&to).unwrap();
            let clone = |s: &TcpStream| s.try_clone().unwrap();
            let carry = |mut from: TcpStream, mut to: TcpStream, after: usize| {
                std::thread::spawn(move || {
                    let (mut bytes, mut passed) = (vec![0; 8192], 0);
                    while let Ok(n @ 1..) = from.read(&mut bytes) {
                        passed += n;
                        if passed > after {
                            if act(&from, &to) {
                                return;
                            }
                            bytes[n / 2] ^= 4;
                        }
                        if to.write_all(&bytes[..n]).is_err() {
                            return;
                        }
                    }
                    let _ = (to.shutdown(std::net::Shutdown::Write), from.shutdown(std::net::Shutdown::Read));
                });
            };
            let after = if number == 0 { usize::MAX } else { after };
            carry(clone(&near), clone(&far), usize::MAX);
            carry(far, near, after);
        }
    });
    address
}

#[test]
fn cuts_changes_and_stalls_end_in_one_line_and_leave_nothing() {
    let t = two_hosts("memory = \"4GiB\"\nsilence = 20");
    let path = t.path();
    let service = Serving::start(path);
    let before = service.threads();
    let cut: fn(&TcpStream, &TcpStream) -> bool = |a, b| {
        let _ = (a.shutdown(std::net::Shutdown::Both), b.shutdown(std::net::Shutdown::Both));
        true
    };
    let changed = proxy(&service.address, 300_000, |_, _| false);
    one_line(path, &ask(path, &changed, &["--retries", "0", "-q"]), 4, "error: connection: TLS: ");
    let lost = proxy(&service.address, 300_000, cut);
    let output = ask(path, &lost, &["--retries", "1", "-q"]);
    one_line(path, &output, 4, "error: connection: ");
    assert!(text(&output.stderr).contains("nothing of this run is used again (attempt 2 of 2 starts in"));
    // A client that is killed, and one that stops: the service gives it up in time.
    for signal in ["-KILL", "-STOP"] {
        let slow = proxy(&service.address, 250_000, |_, _| {
            std::thread::sleep(Duration::from_millis(50));
            true
        });
        let mut client = program(path, &remote(&slow, "hospital.pem", "service.crt"));
        let mut client = client.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        until("a run begins", || service.metric("blindvox_running") == 1);
        let status = Command::new("kill").args([signal, &client.id().to_string()]).status().unwrap();
        assert!(status.success());
        until("the run ends", || service.metric("blindvox_running") == 0);
        let _ = (client.kill(), client.wait());
    }
    until("no thread and no memory is left", || {
        service.threads() <= before && service.metric("blindvox_memory_reserved_bytes") == 0
    });
    let log = service.end();
    assert!(log.contains("connection after"), "{log}");
}

#[test]
fn an_interrupt_is_told_to_the_service_and_a_drain_to_clients() {
    let t = two_hosts("memory = \"4GiB\"\ndrain = 1");
    let path = t.path();
    let service = Serving::start(path);
    // The service's answer stops on its way, so that the run lasts.
    let hold: fn(&TcpStream, &TcpStream) -> bool = |_, _| {
        std::thread::sleep(Duration::from_secs(60));
        true
    };
    let start = |address: &str| {
        let mut client = program(path, &remote(address, "hospital.pem", "service.crt"));
        client.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let held = proxy(&service.address, 250_000, hold);
    let mut client = start(&held);
    until("a run begins", || service.metric("blindvox_running") == 1);
    std::thread::sleep(Duration::from_millis(200));
    let status = Command::new("kill").args(["-INT", &client.id().to_string()]).status().unwrap();
    assert!(status.success());
    assert_eq!(client.wait().unwrap().code(), Some(130));
    until("the service has heard it", || {
        service.metric("blindvox_runs_total{model=\"tiny\",outcome=\"cancelled\"}") == 1
    });
    assert!(!path.join("out.nii.gz").exists());
    // The end of the service: who runs is told, within the time that it was given.
    let held = proxy(&service.address, 250_000, |_, _| {
        std::thread::sleep(Duration::from_millis(2500));
        false
    });
    let mut client = start(&held);
    until("a run begins", || service.metric("blindvox_running") == 1);
    service.signal("-TERM");
    until("nobody is let in any more", || service.get("/readyz").starts_with("HTTP/1.1 503"));
    let mut said = String::new();
    client.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(matches!(client.wait().unwrap().code(), Some(3 | 4)), "{said}");
}
