//! Small graphs that ask for much: refused by a bound before anything large is made.

use blindvox_models::Bundle;
use serde_json::json;

use crate::common::Net;

/// Why a network has no program.
fn refusal(net: Net, scores: &str) -> String {
    let written = net.write(scores, 2, 0);
    Bundle::load(written.directory.path()).expect("well formed").program().map(drop).expect_err("a bound").to_string()
}

#[test]
fn concatenations_of_concatenations_have_a_bound() {
    let mut net = Net::new(&[2, 2, 2], false, 1);
    net.conv("c", "in", [1, 1], &[1, 1, 1], false);
    net.op("many", json!("concat"), &["c"; 64]);
    net.op("more", json!("concat"), &["many"; 64]);
    net.conv("head", "more", [4096, 2], &[1, 1, 1], false);
    let message = refusal(net, "head");
    assert!(message.contains("node \"more\": parts of its value: found more than 1024"), "{message}");
}

#[test]
fn activations_of_many_parts_have_a_bound() {
    let mut net = Net::new(&[2, 2, 2], false, 1);
    net.conv("c", "in", [1, 1], &[1, 1, 1], false);
    net.op("0", json!("concat"), &["c"; 64]);
    for at in 1..=70 {
        net.op(&at.to_string(), json!("relu"), &[&(at - 1).to_string()]);
    }
    net.conv("head", "70", [64, 2], &[1, 1, 1], false);
    let message = refusal(net, "head");
    assert!(message.contains("steps up to here: found more than 4096"), "{message}");
}

#[test]
fn constants_against_a_large_kernel_have_a_bound() {
    let mut net = Net::new(&[256, 256, 256], false, 1);
    net.conv("c", "in", [1, 1], &[1, 1, 1], false);
    net.quadratic("q", "c", 1);
    net.conv("head", "q", [1, 2], &[31, 31, 31], false);
    let message = refusal(net, "head");
    assert!(message.contains("node \"head\": multiply-adds for constants up to here"), "{message}");
}
