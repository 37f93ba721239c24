//! What is estimated of a run before there is one, beside runs of both ends as between hosts: bytes within a hundredth, and
//! round trips on the longest path of messages within a fifth. Both are facts of the messages; seconds are left to the
//! benches.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use blindvox_engine::Device;
use blindvox_models::{Program, testing};
use blindvox_net::Channel;
use blindvox_net::testing::link;
use blindvox_net::transport::local;
use blindvox_protocols::infer::session::plans;
use blindvox_protocols::infer::{
    Client, Comparison, Estimate, LinkSpeed, Options, Outcome, Server, Source, Ways, forecast, memory,
};
use blindvox_tests::{bundle, volume};

/// Both ends; what the client has.
fn run(program: &Arc<Program>, input: &[i32], ways: Ways, (client, server): (Channel, Channel)) -> Outcome {
    let options = Options { ways, ..Options::new(Device::cpu()) };
    thread::scope(|scope| {
        let server = scope.spawn(|| Server::new(program.clone(), options.clone()).serve(server).unwrap());
        let client = Client::connect(client, options.clone()).unwrap().run(input, &mut ()).unwrap();
        server.join().unwrap();
        client
    })
}

/// Two ends in this process that take each other for hosts.
fn hosts() -> (Channel, Channel) {
    let (client, server) = local::pair();
    (Channel::new(client), Channel::new(server))
}

/// Every way that a service chooses among.
fn ways() -> impl Iterator<Item = Ways> {
    let compared = [Comparison::SignSelect, Comparison::Transfers, Comparison::FullCircuit];
    let all = compared.into_iter().flat_map(|c| [(c, Source::SoftSpoken), (c, Source::Silent)]);
    all.map(|(compare, ot)| Ways { compare, ot, ..Ways::BUNET })
}

/// Holds what is estimated to a run; the bytes of what is garbled and silent besides are an upper bound.
fn held(name: &str, program: &Arc<Program>, input: &[i32], ways: Ways) {
    let probe = forecast::Probe { slowness: 1.0, threads: 2.0 };
    let speed: LinkSpeed = "1Gbit,20ms".parse().unwrap();
    let expected = forecast::forecast(program, &plans(program).unwrap(), &ways, speed, &probe).unwrap();
    let found = run(program, input, ways, hosts());
    let [bytes, estimated] = [Estimate::counted(&found), expected.bytes].map(|e| e.total().total() as f64);
    let waits = found.flights.div_ceil(2) as usize;
    let what = format!("{name}, {:?}, {:?}", ways.compare, ways.ot);
    println!("{what}: {bytes} bytes of {estimated}, {waits} waits of {}", expected.waits);
    let more = if ways.ot == Source::Silent && ways.compare != Comparison::Transfers { f64::INFINITY } else { 0.01 };
    assert!(bytes <= 1.01 * estimated && estimated <= (1.0 + more) * bytes, "{what}: {bytes} bytes of {estimated}");
    assert!(5 * waits.abs_diff(expected.waits) <= waits, "{what}: {waits} waits, {} were estimated", expected.waits);
}

#[test]
fn small_networks_take_the_estimated_bytes_and_waits() {
    for (name, written) in [("tiny", testing::tiny()), ("planar", testing::tiny_planar())] {
        let (program, input) = written.program();
        let program = Arc::new(program);
        ways().for_each(|ways| held(name, &program, &input, ways));
    }
}

#[test]
fn shipped_models_take_the_estimated_bytes_and_waits() {
    let (scan, path) = volume("colin27_left");
    for name in ["hippo_hybrid", "hippo_square1", "hippo_relu"] {
        let bundle = bundle(name);
        let program = Arc::new(bundle.program().unwrap());
        let input = bundle.prepare(&program, &scan, &path).unwrap().integers;
        for ways in ways().filter(|ways| ways.compare != Comparison::FullCircuit) {
            held(name, &program, &input, ways);
        }
    }
}

/// The longest path is a fact of the order of messages: a link's latency doesn't change it, and it doesn't differ from run
/// to run.
#[test]
fn waits_are_those_of_any_link() {
    let (program, input) = testing::tiny().program();
    let program = Arc::new(program);
    for ways in ways().take(3) {
        let here = run(&program, &input, ways, hosts()).flights;
        assert_eq!(run(&program, &input, ways, hosts()).flights, here);
        let (client, server) = link(1e9, Duration::from_millis(2));
        assert_eq!(run(&program, &input, ways, (client, server)).flights, here);
        assert!(here > 20);
    }
}

/// Peaks of a service and its client in processes of their own, kB as the system counts them (`bench/results/two-hosts.md`).
#[test]
fn memory_is_within_a_quarter_of_what_was_measured() {
    let ways = [
        (Comparison::SignSelect, Source::SoftSpoken),
        (Comparison::Transfers, Source::SoftSpoken),
        (Comparison::Transfers, Source::Silent),
    ];
    for (model, measured) in [
        ("hippo_hybrid", [[91_068, 167_968], [114_804, 208_092], [196_744, 287_124]]),
        ("hippo_relu", [[76_696, 160_276], [172_568, 268_496], [273_636, 368_676]]),
        ("hippo_square1", [[84_564, 156_916], [94_464, 177_664], [161_400, 248_636]]),
    ] {
        let program = bundle(model).program().expect("a model");
        let plans = plans(&program).expect("plans");
        for ((compare, ot), measured) in ways.into_iter().zip(measured) {
            let found = memory(&program, &plans, &Ways { compare, ot, ..Ways::BUNET });
            for (found, kb) in found.into_iter().zip(measured) {
                let ratio = found as f64 / f64::from(kb * 1024);
                assert!((0.75..1.25).contains(&ratio), "{model}, {compare:?}, {ot:?}: {found} of {kb} kB, {ratio:.2}");
            }
        }
    }
}
