//! Three hosts: a service, a dealer and a client of both, each a process of its own.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::{Value, json};

use crate::hosts::Serving;
use crate::{program, refused, run_in, scratch, text};

fn bundle(model: &str) -> PathBuf {
    let at = Path::new(env!("CARGO_MANIFEST_DIR")).join("../demo/models").join(model);
    at.canonicalize().expect("a bundle")
}

/// A running dealer and its address.
struct Dealing {
    child: Child,
    address: String,
}

impl Dealing {
    fn start(folder: &Path, identity: &str, service: &str) -> Self {
        let args = ["deal", "--listen", "127.0.0.1:0", "--identity", identity, "--service", service];
        let mut child =
            program(folder, &args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program starts");
        let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        let line = lines.find_map(|l| l.ok().filter(|l| l.starts_with("dealing on "))).expect("a line");
        let address = line.split(' ').nth(2).expect("an address").to_owned();
        Self { child, address }
    }

    /// Ends it in peace; what it logged.
    fn end(mut self) -> String {
        let status = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status().expect("kill");
        assert!(status.success());
        let mut log = String::new();
        self.child.stderr.take().expect("a pipe").read_to_string(&mut log).expect("text");
        assert_eq!(self.child.wait().expect("its end").code(), Some(0), "{log}");
        log
    }
}

impl Drop for Dealing {
    fn drop(&mut self) {
        let _ = self.child.kill();
    }
}

/// A folder with four identities, and a service's files that name this dealer.
fn folder() -> tempfile::TempDir {
    let t = scratch();
    for name in ["service", "hospital", "dealer", "other"] {
        let output = run_in(t.path(), &["keygen", "--name", name]);
        assert!(output.status.success(), "{}", text(&output.stderr));
    }
    t
}

fn configure(t: &Path, dealer: &str) {
    let pin = |name: &str| text(&run_in(t, &["fingerprint", &format!("{name}.crt")]).stdout).trim().to_owned();
    let client = |name: &str| format!("[[client]]\nname = \"{name}\"\npin = \"{}\"\nmodels = \"*\"\n", pin(name));
    std::fs::write(t.join("clients.toml"), client("hospital") + &client("dealer")).expect("a file");
    let model = |name: &str| format!("[[model]]\nname = \"{name}\"\npath = {:?}\n", bundle(name));
    let config = format!(
        "listen = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\nidentity = \"service.pem\"\nclients = \"clients.toml\"\n\
         audit = \"audit.jsonl\"\nmemory = \"1GiB\"\n[dealer]\naddress = \"{dealer}\"\ntrust = \"dealer.crt\"\n{}{}{}",
        model("breast_relu"),
        model("breast_smooth"),
        model("hippo_relu")
    );
    std::fs::write(t.join("service.toml"), config).expect("a file");
}

/// `predict` of a model's own rows.
fn predict(t: &Path, model: &str, more: &[&str]) -> Output {
    let rows = bundle(model).join("rows.csv");
    let usual = ["predict", "-i", rows.to_str().expect("a path"), "-o", "out.csv"];
    run_in(t, &[&usual, more].concat())
}

fn remote<'a>(service: &'a str, identity: &'a str, model: &'a str) -> Vec<&'a str> {
    vec!["--server", service, "--identity", identity, "--trust", "service.crt", "-m", model, "--retries", "0"]
}

#[test]
fn three_hosts_give_the_classes_of_one_process() {
    let t = folder();
    let t = t.path();
    let dealer = Dealing::start(t, "dealer.pem", "service.crt");
    configure(t, &dealer.address);
    let service = Serving::start(t);
    let local = ["--dealer", "local"];
    let far = ["--dealer", &dealer.address, "--dealer-trust", "dealer.crt", "--report", "report.json"];
    for (model, preset, dealt) in [
        ("breast_relu", "dealer", true),
        ("breast_smooth", "dealer", true),
        ("breast_relu", "paper", true),
        ("breast_relu", "silent", false),
    ] {
        let flags = ["--preset", preset, "--batch", "7"];
        let path = bundle(model);
        let here = [&["-m", path.to_str().expect("a path")][..], if dealt { &local } else { &[] }, &flags].concat();
        let output = predict(t, model, &here);
        assert!(output.status.success(), "{}", text(&output.stderr));
        let wanted = std::fs::read_to_string(t.join("out.csv")).expect("classes");
        std::fs::remove_file(t.join("out.csv")).expect("a file");
        let there = remote(&service.address, "hospital.pem", model);
        let output = predict(t, model, &[&there[..], if dealt { &far } else { &far[4..] }, &flags].concat());
        assert!(output.status.success(), "{model}, {preset}: {}", text(&output.stderr));
        assert_eq!(std::fs::read_to_string(t.join("out.csv")).expect("classes"), wanted, "{model}, {preset}");
        let report: Value =
            serde_json::from_slice(&std::fs::read(t.join("report.json")).expect("a report")).expect("JSON");
        assert_eq!((&report["preset"], &report["rows"]), (&json!(preset), &json!(16)));
        // A seed and a digest are all that a client has of the dealer.
        assert_eq!(report["dealer"]["bytes_from_dealer"], if dealt { 48 } else { 0 });
        assert!(report["online"]["bytes_client_to_server"].as_u64() > Some(1000), "{report}");
    }
    service.end();
    let log = dealer.end();
    assert_eq!([log.matches(" deal: begins for ").count(), log.matches(" deal: ends for ").count()], [3, 3], "{log}");
    let audit = std::fs::read_to_string(t.join("audit.jsonl")).expect("a log");
    assert_eq!(
        ["dealer", "paper"].map(|preset| audit.matches(&format!("\"comparison\":\"{preset}\"")).count()),
        [2, 1]
    );
    assert!(audit.lines().all(|line| line.contains("\"outcome\":\"done\"")), "{audit}");
}

#[test]
fn a_dealer_that_is_no_third_host_and_strangers_are_refused() {
    let t = folder();
    let t = t.path();
    let dealer = Dealing::start(t, "dealer.pem", "service.crt");
    let other = Dealing::start(t, "other.pem", "hospital.crt");
    configure(t, &dealer.address);
    let service = Serving::start(t);
    let at = &service.address;
    let far = |dealer: &'_ Dealing, trust: &'static str| {
        ["--dealer".to_owned(), dealer.address.clone(), "--dealer-trust".to_owned(), trust.to_owned()]
    };
    let ask = |identity: &str, model: &str, more: &[String]| {
        let more: Vec<&str> = more.iter().map(String::as_str).collect();
        predict(t, "breast_relu", &[&remote(at, identity, model)[..], &more].concat())
    };
    let told = |output: &Output, code: i32, part: &str| {
        let message = text(&output.stderr);
        assert_eq!((output.status.code(), message.lines().count()), (Some(code), 1), "{message}");
        assert!(message.contains(part), "{message:?} doesn't mention {part:?}");
        assert!(!t.join("out.csv").exists());
    };
    let words = |words: &[&str]| words.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>();
    // What flags can't mean.
    told(&ask("hospital.pem", "breast_relu", &words(&["--dealer", "local"])), 2, "would read the model");
    told(&ask("hospital.pem", "breast_relu", &words(&["--dealer", "a:1"])), 2, "--dealer-trust is missing");
    told(&ask("hospital.pem", "breast_relu", &words(&["--preset", "dealer"])), 2, "--dealer HOST:PORT");
    told(&ask("hospital.pem", "breast_relu", &words(&["--compare"])), 2, "--compare");
    let args = ["deal", "--identity", "dealer.pem", "--service", "dealer.crt", "--listen", "127.0.0.1:0"];
    refused(t, &run_in(t, &args), 2, &["--service dealer.crt", "own key"]);
    // What models don't have.
    told(&ask("hospital.pem", "hippo_relu", &far(&dealer, "dealer.crt")), 2, "rows of a table");
    told(&ask("hospital.pem", "breast_smooth", &[]), 3, "--preset dealer");
    let scores = [&far(&dealer, "dealer.crt")[..], &words(&["--scores"])].concat();
    told(&ask("hospital.pem", "breast_relu", &scores), 2, "labels alone");
    // The dealer as the client of its service, another host in its place, one that deals for somebody else.
    told(
        &ask("dealer.pem", "breast_relu", &far(&dealer, "dealer.crt")),
        3,
        "refused: the dealer has this client's key",
    );
    told(&ask("hospital.pem", "breast_relu", &far(&dealer, "other.crt")), 2, "presented bv1:");
    told(
        &ask("hospital.pem", "breast_relu", &far(&other, "other.crt")),
        3,
        "refused: no service has named this client",
    );
    // Plain talk, and a socket that says nothing.
    let mut stream = TcpStream::connect(&dealer.address).expect("a socket");
    stream.write_all(b"GET / HTTP/1.1\r\n\r\n").expect("room");
    let _ = stream.read_to_end(&mut Vec::new());
    let _silent = TcpStream::connect(&dealer.address).expect("a socket");
    let output = ask("hospital.pem", "breast_relu", &far(&dealer, "dealer.crt"));
    assert!(output.status.success(), "{}", text(&output.stderr));
    std::fs::remove_file(t.join("out.csv")).expect("a file");
    assert!(other.end().contains("no service has named this client"));
    let log = dealer.end();
    assert!(log.contains("greeting: "), "{log}");
    told(
        &ask("hospital.pem", "breast_relu", &words(&["--dealer", "127.0.0.1:1", "--dealer-trust", "dealer.crt"])),
        3,
        "does not reach its dealer",
    );
    let log = service.end();
    assert!(log.contains("dealer: connection: connect to "), "{log}");
}

#[test]
fn a_service_that_the_dealer_was_not_told_of_is_refused() {
    let t = folder();
    let t = t.path();
    let dealer = Dealing::start(t, "dealer.pem", "other.crt");
    configure(t, &dealer.address);
    let service = Serving::start(t);
    let far = ["--dealer", &dealer.address, "--dealer-trust", "dealer.crt"];
    let output =
        predict(t, "breast_relu", &[&remote(&service.address, "hospital.pem", "breast_relu")[..], &far].concat());
    let message = text(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{message}");
    assert!(
        message.starts_with("refused: this service (bv1:") && message.contains("none that the dealer deals for"),
        "{message}"
    );
}
