//! The commands of the documents, run as they stand there: blocks under `<!-- run -->`, one after the other, in a folder with
//! the shipped models; one under `<!-- run background -->` goes on until the document's end.

#![cfg(unix)]

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// What says that a block in the background is ready.
const STARTED: [&str; 2] = ["serving on", "dealing on"];

/// The blocks of a document, and whether each is to run in the background.
fn blocks(document: &str) -> Vec<(bool, String)> {
    let mut all = Vec::new();
    let mut lines = document.lines();
    while let Some(line) = lines.next() {
        let background = match line.trim() {
            "<!-- run -->" => false,
            "<!-- run background -->" => true,
            _ => continue,
        };
        let block: Vec<&str> = lines.by_ref().map_while(|l| l.strip_prefix("    ")).collect();
        assert!(!block.is_empty(), "a mark without a block");
        all.push((background, block.join("\n")));
    }
    all
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn shell(folder: &Path, script: &str) -> Command {
    let program = Path::new(env!("CARGO_BIN_EXE_blindvox")).parent().unwrap().display().to_string();
    let path = format!("{program}:{}", std::env::var("PATH").unwrap_or_default());
    let mut shell = Command::new("bash");
    shell.args(["-euo", "pipefail", "-c", script]).current_dir(folder).env("PATH", path);
    shell
}

/// Ends with the document.
struct Background(Child);

impl Drop for Background {
    fn drop(&mut self) {
        let _ = (self.0.kill(), self.0.wait());
    }
}

fn run(document: &str, more: &[(&str, String)]) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let text = fs::read_to_string(root.join(document)).unwrap();
    let folder = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(fs::canonicalize(root.join("demo")).unwrap(), folder.path().join("demo")).unwrap();
    fs::copy(root.join("demo/volumes/images/colin27_left.nii.gz"), folder.path().join("scan.nii.gz")).unwrap();
    let all = blocks(&text);
    assert!(!all.is_empty(), "{document}: no block to run");
    let mut background = Vec::new();
    for (stays, block) in all {
        let block = more.iter().fold(block, |block, (from, to)| block.replace(from, to));
        if stays {
            let exec = format!("exec {block}");
            let mut child = shell(folder.path(), &exec).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
            let said = std::io::BufReader::new(child.stdout.take().unwrap());
            assert!(
                std::io::BufRead::lines(said).any(|l| STARTED.iter().any(|s| l.as_ref().unwrap().starts_with(s))),
                "{document}: {block}"
            );
            background.push(Background(child));
            continue;
        }
        let start = Instant::now();
        let output = shell(folder.path(), &block).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{document}: {block}\n{said}");
        assert!(start.elapsed() < Duration::from_secs(600));
    }
}

#[test]
fn the_readmes_two_hosts_meet() {
    let [listen, admin] = [free_port(), free_port()].map(|port| format!("127.0.0.1:{port}"));
    run(
        "README.md",
        &[
            ("0.0.0.0:7443", listen.clone()),
            ("seg.example:7443", listen),
            ("memory = \"4GiB\"", format!("memory = \"4GiB\"\nadmin = \"{admin}\"")),
        ],
    );
}

#[test]
fn serving_in_production_runs_as_it_stands() {
    let ports = [(":7443", free_port()), (":9464", free_port())];
    run("docs/book/serving.md", &ports.map(|(from, to)| (from, format!(":{to}"))));
}

#[test]
fn rows_with_a_dealer_run_as_they_stand() {
    let ports = [(":7443", free_port()), (":7444", free_port()), (":9464", free_port())];
    run("docs/book/rows.md", &ports.map(|(from, to)| (from, format!(":{to}"))));
}

#[test]
fn estimates_run_as_they_stand() {
    run("docs/book/estimate.md", &[]);
}

/// Every page of the book is in its summary, and every error that a service or its client gives is explained.
#[test]
fn the_book_is_whole() {
    let book = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/book");
    let summary = fs::read_to_string(book.join("SUMMARY.md")).unwrap();
    for page in fs::read_dir(&book).unwrap() {
        let name = page.unwrap().file_name().into_string().unwrap();
        assert!(!name.ends_with(".md") || name == "SUMMARY.md" || summary.contains(&format!("({name})")), "{name}");
    }
    let pages = fs::read_to_string(book.join("troubleshooting.md")).unwrap();
    let sources = [
        "cli/src/service/admission.rs",
        "cli/src/service/clients.rs",
        "cli/src/service/client.rs",
        "cli/src/remote.rs",
        "cli/src/service/rows.rs",
        "cli/src/dealer.rs",
    ];
    for (source, pieces) in sources.into_iter().zip([
        &["runs wait; try again in about", "the service gives", "the service is about to end"][..],
        &["is not in the service's list", "runs of today (UTC)", "as many as it may have at once"],
        &[
            "not served to this client, which may ask for",
            "is none that it takes (its own is",
            "no comparison that this client accepts is made for this model",
            "that the service gives; a smaller grid would fit",
        ],
        &[" running there, and the port open?", "is the host up, and the port open?"],
        &["this service has no dealer", "does not reach its dealer", "has this client's key: it would read the model"],
        &[
            "is none that the dealer deals for",
            "no service has named this client",
            "did not come to the dealer in time",
        ],
    ]) {
        let code = fs::read_to_string(book.join("../..").join(source)).unwrap();
        for piece in pieces {
            assert!(code.contains(piece) && pages.contains(piece), "{source}: {piece}");
        }
    }
}
