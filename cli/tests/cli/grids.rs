//! Scans of any size at a service: as here, within what it gives.

use std::net::TcpStream;
use std::time::Duration;

use blindvox_engine::Device;
use blindvox_engine::garble::GateHash;
use blindvox_net::identity::{Identity, Trust};
use blindvox_net::transport::{tcp::Limits, tls};
use blindvox_net::{Channel, Code};
use blindvox_protocols::Error;
use blindvox_protocols::infer::Options;
use blindvox_protocols::service::{Accepts, Order, Visit};

use super::hosts::{Serving, ask, one_line, two_hosts};
use super::*;

/// Puts keys in the place of the tiny model's grid.
fn of_any_size(folder: &Path, keys: Value) {
    edit_model(folder, |model| {
        model["preparation"] = json!({"orientation": "RAS", "normalise": "z_score"});
        for (key, value) in keys.as_object().expect("keys") {
            model["preparation"][key] = value.clone();
        }
    });
    // Sums of scores over windows have more bits than scores.
    let calibrated = run_in(folder, &["calibrate", "-m", ".", "scan.nii.gz"]);
    assert!(calibrated.status.success(), "{}", text(&calibrated.stderr));
}

fn ramp(v: usize) -> f32 {
    (v % 23) as f32 + (v % 7) as f32
}

#[test]
fn scans_of_any_size_are_labelled_as_here() {
    let window = json!({"size": [8, 8, 8], "overlap": 0.5, "blend": "gaussian"});
    let all = [json!({"divisor": [4, 4, 4], "window": "whole"}), json!({ "window": window })];
    for keys in all {
        let t = two_hosts("memory = \"4GiB\"");
        let t = t.path();
        of_any_size(t, keys);
        let service = Serving::start(t);
        let mut coefficients = 0;
        for dims in [[13, 8, 10], [8, 8, 8], [13, 8, 10]] {
            save(t, dims, ramp);
            let output = ask(t, &service.address, &["-q", "--report", "report.json"]);
            assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
            assert!(segment(t, &["-o", "here.nii.gz", "-q"]).status.success());
            let [there, here] = ["out.nii.gz", "here.nii.gz"].map(|name| LabelMap::load(&t.join(name)).unwrap());
            assert_eq!((there.dims, here.dims), (dims, dims));
            let differing = there.data.iter().zip(&here.data).filter(|(a, b)| a != b).count();
            assert!(differing * 20 < here.data.len(), "{differing} of {}", here.data.len());
            assert!(there.data.iter().any(|l| *l != there.data[0]), "one label for all");
            std::fs::remove_file(t.join("out.nii.gz")).unwrap();
            // What replies hid the weights in grows with the grid.
            let now = service.metric("blindvox_reply_coefficients_total{client=\"hospital-a\"}");
            assert!(now > coefficients);
            coefficients = now;
        }
        service.end();
        let audit = std::fs::read_to_string(t.join("audit.jsonl")).unwrap();
        let grids: Vec<Value> =
            audit.lines().map(|l| serde_json::from_str::<Value>(l).unwrap()["grid"].clone()).collect();
        let large = if all_whole(t) { json!([16, 8, 12]) } else { json!([13, 8, 10]) };
        assert_eq!(grids, [large.clone(), json!([8, 8, 8]), large]);
    }
}

fn all_whole(folder: &Path) -> bool {
    std::fs::read_to_string(folder.join(MODEL_FILE)).unwrap().contains("whole")
}

#[test]
fn grids_beyond_what_the_service_gives_are_refused_in_one_line() {
    let t = two_hosts("memory = \"100MiB\"");
    let t = t.path();
    of_any_size(t, json!({"divisor": [4, 4, 4], "window": "whole"}));
    let service = Serving::start(t);
    save(t, [144, 144, 144], ramp);
    let start = "refused: model \"tiny\": 144x144x144 voxels need about ";
    let output = ask(t, &service.address, &["-m", "tiny", "-q"]);
    one_line(t, &output, 3, start);
    assert!(text(&output.stderr).trim().ends_with("here, the service gives 0.1 GiB; a smaller grid would fit"));
    // A client that asks for what the card doesn't let it: nothing is planned for that.
    let visit = || {
        let identity = Identity::load(&t.join("hospital.pem")).unwrap();
        let trust = Trust::parse(t.join("service.crt").to_str().unwrap(), None).unwrap();
        let stream = TcpStream::connect(&service.address).unwrap();
        let secured = tls::Client::new(&identity, &trust).unwrap().meet(stream, Duration::from_secs(20)).unwrap();
        let channel = Channel::tls(secured, Limits::between_hosts()).unwrap();
        Visit::begin(channel, Accepts::new(GateHash::default(), None, None, None)).unwrap()
    };
    let refusal = |grid: [usize; 3], code: Code| {
        let mut visit = visit();
        let card = visit.card("tiny").unwrap();
        let order = Order { model: "tiny", card: &card, volume: &[], grid };
        match visit.run(order, Options::new(Device::cpu()), &mut |_| (), &mut ()).err() {
            Some(Error::Refused(refusal)) => {
                assert_eq!(refusal.code, code, "{}", refusal.text);
                refusal.text
            }
            other => panic!("{other:?}"),
        }
    };
    let most = u32::MAX as usize;
    assert!(refusal([most, most, most], Code::TooLarge).contains("voxels need more than the 0.1 GiB"));
    assert!(refusal([512, 512, 512], Code::TooLarge).contains("512x512x512 voxels need more than"));
    assert!(refusal([9, 8, 8], Code::Request).contains("a grid of 9x8x8 is none that it takes (its own is 8x8x8)"));
    assert!(refusal([0, 8, 8], Code::Request).contains("found 1 channels of 0x8x8, it takes 1 of 8x8x8"));
    assert_eq!((service.metric("blindvox_running"), service.metric("blindvox_memory_reserved_bytes")), (0, 0));
    let log = service.end();
    assert!(log.contains("expected multiples of"), "the log says what was wrong: {log}");
}

/// A run that would take more than --memory is cut into slabs; the labels are those of one pass.
#[test]
fn a_run_keeps_within_the_memory_that_it_is_given() {
    let t = copy();
    let t = t.path();
    save(t, [32, 32, 200], ramp);
    of_any_size(t, json!({"divisor": [4, 4, 4], "window": "whole"}));
    let run =
        |memory: &str| segment(t, &["--memory", memory, "-o", "m.nii.gz", "--compare", "--report", "m.json", "-q"]);
    refused(t, &run("12 apples"), 2, &["--memory", "12 apples", "12GiB or 512MiB"]);
    let little = run("1MiB");
    let parts = ["--memory: found 1048.6 kB", "expected at least", "in one pass", "in slabs"];
    refused(t, &little, 2, &parts);
    let said = text(&little.stderr);
    let megabytes = |end: &str| {
        let number = said.split(end).next().and_then(|s| s.split(' ').next_back()).expect("a number");
        number.parse::<f64>().unwrap_or_else(|_| panic!("{said}"))
    };
    let [whole, slabs] = [megabytes(" MB in one pass"), megabytes(" MB in slabs")];
    assert!(slabs < whole - 2.0, "{said}");
    let enough = format!("{}MiB", (slabs * 1e6 / f64::from(1 << 20)).ceil() as u64);
    let output = run(&enough);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let report: Value = serde_json::from_slice(&std::fs::read(t.join("m.json")).unwrap()).unwrap();
    assert_eq!(report["layers"].as_array().and_then(|l| l.last()).expect("layers")["kind"], "blend");
    let differing = report["compare"]["label_disagreements_vs_integer"].as_u64().expect("a count");
    assert!(differing * 50 < 32 * 32 * 200, "{differing}");
    let remote = run_in(t, &["segment", "--server", "a:1", "--memory", "1GiB", "-i", "scan.nii.gz", "-o", "r.nii.gz"]);
    refused(t, &remote, 2, &["--memory is for runs within one process"]);
}
