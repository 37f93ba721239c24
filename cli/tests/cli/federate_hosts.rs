//! `federate` between hosts: an aggregator and three members in processes of their own.

use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Output, Stdio};
use std::time::{Duration, Instant};

use crate::federate::{model, three};
use crate::{program, refused, run_in, scratch, text};

/// Identities of an aggregator and three members, their roster and their models.
fn cast() -> tempfile::TempDir {
    let folder = scratch();
    let t = folder.path();
    three(t);
    for name in ["a", "b", "c", "sum"] {
        done(&run_in(t, &["keygen", "--name", name]));
    }
    let members = ["a.crt", "b.crt", "c.crt", "--aggregator", "sum.crt", "-o", "federation.toml"];
    done(&run_in(t, &[&["federate", "roster"][..], &members].concat()));
    folder
}

fn done(output: &Output) {
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
}

const SERVE: [&str; 10] = [
    "federate",
    "serve",
    "--roster",
    "federation.toml",
    "--identity",
    "sum.pem",
    "--model",
    "base.st",
    "--state",
    "sum",
];

/// A process that is ended with the test.
struct Running(Child);

impl Running {
    fn start(folder: &Path, args: &[&str]) -> Self {
        Self(program(folder, args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program starts"))
    }

    fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }

    /// Its end in peace; what it said.
    fn end(mut self) -> String {
        let (mut said, mut wrong) = (String::new(), String::new());
        self.0.stdout.take().unwrap().read_to_string(&mut said).unwrap();
        self.0.stderr.take().unwrap().read_to_string(&mut wrong).unwrap();
        let status = self.0.wait().unwrap();
        assert!(status.success(), "{said}{wrong}");
        said
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = (self.0.kill(), self.0.wait());
    }
}

fn free_port() -> String {
    format!("127.0.0.1:{}", TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port())
}

fn serve(folder: &Path, address: &str, more: &[&str]) -> Running {
    let mut running = Running::start(folder, &[&SERVE[..], &["--listen", address], more].concat());
    let mut lines = BufReader::new(running.0.stdout.take().unwrap());
    let mut line = String::new();
    lines.read_line(&mut line).unwrap();
    if line.contains("dealt by") {
        lines.read_line(&mut line).unwrap();
    }
    assert!(line.contains("serving on "), "{line}");
    // What follows is read by nobody: a pipe holds it.
    running.0.stdout = Some(lines.into_inner());
    running
}

/// Runs a member's command; `more` are its own flags.
fn member(folder: &Path, (command, name): (&str, &str), address: &str, more: &[&str]) -> Running {
    let identity = format!("{name}.pem");
    let usual = ["federate", command, "--roster", "federation.toml", "--identity", &identity, "--server", address];
    let state = if command == "status" { vec![] } else { vec!["--state", name, "--patience", "20"] };
    Running::start(folder, &[&usual[..], &state, more].concat())
}

fn join(folder: &Path, name: &str, address: &str) -> Running {
    // The round brings the member's own model, whatever the base is.
    let (train, out) = (format!("cp {name}.st {{out}} && test -s {{base}}"), format!("last-{name}.st"));
    member(folder, ("join", name), address, &["--train", &train, "-o", &out])
}

fn read(folder: &Path, name: &str) -> Vec<u8> {
    std::fs::read(folder.join(name)).unwrap()
}

/// What one round comes to, in one process.
fn expected(folder: &Path, more: &[&str]) -> Vec<u8> {
    let average = ["federate", "average", "a.st", "b.st", "c.st", "--base", "base.st", "--clip", "2", "-o", "mean.st"];
    done(&run_in(folder, &[&average[..], more].concat()));
    read(folder, "mean.st")
}

#[test]
fn members_join_over_tls_and_come_back_after_they_were_killed() {
    let folder = cast();
    let t = folder.path();
    let expected = expected(t, &[]);
    let address = free_port();
    let flags = ["--rounds", "1", "--clip", "2", "--most-examples", "100"];
    let first = serve(t, &address, &flags);
    let [a, b] = ["a", "b"].map(|name| join(t, name, &address));
    // Both are ready, and wait for the third: all that was written down is there.
    let begun = Instant::now();
    loop {
        let said = member(t, ("status", "a"), &address, &[]).end();
        if said.contains("ready     : a, b") {
            assert!(said.starts_with("round 1 of 1, attempt 1: members say that they take part"), "{said}");
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "{said}");
        std::thread::sleep(Duration::from_millis(20));
    }
    first.kill();
    a.kill();
    let [a, c] = ["a", "c"].map(|name| join(t, name, &address));
    let second = serve(t, &address, &flags);
    assert!(second.end().contains("All 1 rounds are over"));
    for (name, running) in [("a", a), ("b", b), ("c", c)] {
        let said = running.end();
        assert!(said.contains("round 1: the average of 3 updates") && said.contains("All rounds are over"), "{said}");
        assert_eq!(read(t, &format!("last-{name}.st")), expected);
    }
    let logs = ["sum/audit.jsonl", "a/audit.jsonl", "b/audit.jsonl", "c/audit.jsonl"];
    let audit = |logs: &[&str]| run_in(t, &[&["audit", "--roster", "federation.toml"][..], logs].concat());
    let output = audit(&logs);
    done(&output);
    let said = text(&output.stdout);
    assert!(said.contains("b/audit.jsonl: all lines signed by b") && said.contains("agree in "), "{said}");
    let spoilt = String::from_utf8(read(t, logs[1])).unwrap().replacen("\"event\":\"plan\"", "\"event\":\"plot\"", 1);
    std::fs::write(t.join("spoilt"), spoilt).unwrap();
    let output = audit(&["spoilt"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).starts_with("error: spoilt: line "), "{}", text(&output.stderr));
}

#[test]
fn a_dealers_key_serves_a_federation_with_its_own_loop() {
    let folder = cast();
    let t = folder.path();
    let expected = expected(t, &["--examples", "50,50,50"]);
    let ceremony = ["federate", "ceremony", "--roster", "federation.toml", "--identity", "sum.pem", "-o", "keys"];
    let output = run_in(t, &ceremony);
    done(&output);
    assert!(text(&output.stdout).contains("112-bit security") && text(&output.stdout).contains("could have decrypted"));
    let again = run_in(t, &ceremony);
    assert!(text(&again.stderr).contains("keys/paillier.key: found a key, expected none"), "{}", text(&again.stderr));
    let address = free_port();
    let keys = ["--keys", "keys"];
    let flags = ["--rounds", "1", "--clip", "2", "--most-examples", "50", "--scheme", "paillier", "--prove"];
    let server = serve(t, &address, &[&flags[..], &keys, &["--audience", "everyone"]].concat());
    let all = |command: &str, more: &[&str], said: &str| {
        let start = |name: &str| {
            let more: Vec<String> = more.iter().map(|word| word.replace("NAME", name)).collect();
            let more: Vec<&str> = more.iter().map(String::as_str).collect();
            member(t, (command, name), &address, &[&keys[..], &more].concat())
        };
        for running in ["a", "b", "c"].map(start) {
            let all = running.end();
            assert!(all.contains(said), "{all}");
        }
    };
    all("fetch", &["-o", "base-NAME.st"], "round 1 of 1: train base-");
    assert_eq!(read(t, "base-b.st"), read(t, "base.st"));
    all("submit", &["NAME.st", "--examples", "50"], "The update is handed in");
    all("fetch", &["-o", "end-NAME.st"], "All rounds are over");
    assert!(server.end().contains("The last model is in sum"));
    for name in ["end-a.st", "end-b.st", "end-c.st", "sum/next.safetensors"] {
        assert_eq!(read(t, name), expected, "{name}");
    }
}

#[test]
fn what_is_wrong_between_hosts_is_one_line() {
    let folder = cast();
    let t = folder.path();
    done(&run_in(t, &["keygen", "--name", "stranger"]));
    let wrong = |more: &[&str], parts: &[&str]| {
        let usual = ["--listen", "127.0.0.1:0", "--rounds", "1"];
        refused(t, &run_in(t, &[&SERVE[..], &usual, more].concat()), 2, parts);
    };
    wrong(&["--clip", "0"], &["--clip: found 0, expected a number above 0"]);
    wrong(&["--prove"], &["--prove: found --scheme rlwe"]);
    wrong(&["--precision", "40"], &["--precision: found 40 bits, expected 2 to 29 for 3 members"]);
    wrong(&["--most-examples", "0"], &["--most-examples: found 0"]);
    wrong(&["--scheme", "paillier"], &["--keys is missing"]);
    wrong(&["--keys", "none"], &["none/paillier.key"]);
    wrong(&["--exclude", ".*"], &["base.st: found no tensor left to average"]);
    let address = free_port();
    let run = |who: (&str, &str), more: &[&str], code, part: &str| {
        let mut running = member(t, who, &address, more);
        let mut message = String::new();
        running.0.stderr.take().unwrap().read_to_string(&mut message).unwrap();
        assert_eq!((running.0.wait().unwrap().code(), message.lines().count()), (Some(code), 1), "{message}");
        assert!(message.contains(part), "{message}");
    };
    run(("join", "a"), &["--train", "true {base}"], 2, "--train true {base}: found no {out}");
    run(("status", "a"), &[], 4, "connection refused (is `blindvox federate serve` running there?)");
    run(("fetch", "stranger"), &["-o", "fetched.st"], 2, "federation.toml: the roster has no member with the key");
    std::fs::write(t.join("c.st"), b"nothing").unwrap();
    run(("submit", "c"), &["c.st"], 2, "c.st: not a safetensors file");
    run(("submit", "c"), &["base.st"], 2, "base.st: found no metadata \"examples\"");
    std::fs::rename(t.join("stranger"), t.join("b")).unwrap();
    run(("fetch", "b"), &["-o", "fetched.st"], 2, "--state b: found the state of another federation or party");
    std::fs::remove_dir_all(t.join("b")).unwrap();
    model(t, "c.st", [1.0, 1.0, f32::NAN, 1.0], Some(50));
    let server = serve(t, &address, &["--rounds", "1"]);
    let others = ["a", "b"].map(|name| join(t, name, &address));
    run(("join", "c"), &["--train", "cp c.st {out} # {base}"], 2, "tensor \"w\": element 2: found NaN");
    run(("join", "c"), &["--train", "false {out} {base}"], 2, "--train: exit status: 1 in round 1");
    run(("submit", "c"), &["a.st"], 2, "a.st: round 1 trains another model than was fetched last");
    run(("fetch", "a"), &["-o", "fetched.st"], 2, "--state a: another process works with it");
    drop((server, others));
}
