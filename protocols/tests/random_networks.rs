//! Random small networks, run securely: every step follows from its inputs, and the labels from the scores.

use blindvox_models::testing as common;

use std::sync::Arc;

use blindvox_engine::Device;
use blindvox_engine::garble::GateHash;
use blindvox_protocols::infer::session::plans;
use blindvox_protocols::infer::{
    Comparison, Estimate, Options, PairSupply, Products, Randomness, estimate, local, trace,
};
use blindvox_protocols::ot::LOCAL_WIDTH;
use common::Net;
use proptest::prelude::*;
use serde_json::json;

#[derive(Clone, Copy, Debug)]
enum Activation {
    Square,
    Relu,
    Quadratic,
    None,
}

/// One level of a U-Net.
#[derive(Clone, Debug)]
struct Level {
    width: usize,
    kernel: usize,
    norm: bool,
    down: Activation,
    up: Activation,
    max_pool: bool,
    skip: bool,
}

#[derive(Clone, Debug)]
struct Shape {
    planar: bool,
    half: bool,
    levels: Vec<Level>,
    classes: usize,
    seed: u64,
    full_circuit: bool,
}

fn activation() -> impl Strategy<Value = Activation> {
    prop_oneof![Just(Activation::Square), Just(Activation::Relu), Just(Activation::Quadratic), Just(Activation::None)]
}

fn level() -> impl Strategy<Value = Level> {
    let kernel = prop_oneof![Just(1usize), Just(3)];
    let flags = (any::<bool>(), any::<bool>(), any::<bool>());
    (1usize..4, kernel, activation(), activation(), flags).prop_map(
        |(width, kernel, down, up, (norm, max_pool, skip))| Level { width, kernel, norm, down, up, max_pool, skip },
    )
}

fn shape() -> impl Strategy<Value = Shape> {
    let levels = proptest::collection::vec(level(), 1..4);
    (any::<bool>(), any::<bool>(), levels, 2usize..5, 0u64..1 << 40, any::<bool>()).prop_map(
        |(planar, half, levels, classes, seed, full_circuit)| Shape {
            planar,
            half,
            levels,
            classes,
            seed,
            full_circuit,
        },
    )
}

fn activate(net: &mut Net, name: &str, input: &str, channels: usize, kind: Activation) -> String {
    match kind {
        Activation::Square => net.op(name, json!("square"), &[input]),
        Activation::Relu => net.op(name, json!("relu"), &[input]),
        Activation::Quadratic => net.quadratic(name, input, channels),
        Activation::None => return input.to_owned(),
    }
    name.to_owned()
}

impl Shape {
    /// The network, and the node that holds its scores.
    fn build(&self) -> (Net, String) {
        let sizes: &[usize] = if self.planar { &[16, 8] } else { &[8, 8, 8] };
        let mut net = Net::new(sizes, self.half, self.seed);
        let (mut at, mut channels, mut skips) = ("in".to_owned(), 1, Vec::new());
        for (i, level) in self.levels.iter().enumerate() {
            let kernel = vec![level.kernel; sizes.len()];
            net.conv(&format!("down.{i}"), &at, channels, level.width, &kernel, level.norm);
            channels = level.width;
            at = activate(&mut net, &format!("down.act.{i}"), &format!("down.{i}"), channels, level.down);
            skips.push((at.clone(), channels));
            if i + 1 < self.levels.len() {
                let pool = if level.max_pool { "max_pool" } else { "avg_pool" };
                net.op(&format!("pool.{i}"), json!(pool), &[&at]);
                at = format!("pool.{i}");
            }
        }
        for (i, level) in self.levels.iter().enumerate().rev().skip(1) {
            net.up(&format!("up.{i}"), &at, channels, level.width);
            channels = level.width;
            at = activate(&mut net, &format!("up.act.{i}"), &format!("up.{i}"), channels, level.up);
            if level.skip {
                let (skip, more) = &skips[i];
                net.op(&format!("cat.{i}"), json!("concat"), &[skip, &at]);
                (at, channels) = (format!("cat.{i}"), channels + more);
            }
        }
        net.conv("head", &at, channels, self.classes, &vec![1; sizes.len()], false);
        (net, "head".to_owned())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_step_keeps_its_bound(shape in shape()) {
        let (net, scores) = shape.build();
        // Calibrated on the volume that is run, so that nothing overflows.
        let (program, input) = match net.write(&scores, shape.classes, 1).try_program() {
            // Squares of squares of small values: such a network is refused when it is calibrated.
            Err(e) if e.to_string().contains("its values vanish") => return Err(TestCaseError::reject("vanishes")),
            made => made.expect("a calibration"),
        };
        let program = Arc::new(program);
        let mut options = Options::new(Device::cpu());
        options.trace = true;
        options.ways.compare = match (shape.full_circuit, shape.seed % 3) {
            (true, _) => Comparison::FullCircuit,
            (false, 0) => Comparison::SignSelect,
            (false, _) => Comparison::Transfers,
        };
        options.ways.products = Products::He(if shape.seed % 2 == 0 { PairSupply::AsUsed } else { PairSupply::Ahead });
        options.gate_hash = GateHash::ALL[usize::from(shape.seed / 2 % 2 == 1)];
        options.randomness = Randomness::FixedForTests(shape.seed);
        let run = local::run(program.clone(), &input, &options, &mut ()).expect("a run");
        prop_assert!(run.server.labels.is_none());
        let expected = estimate(&program, &plans(&program).expect("plans"), &options.ways, LOCAL_WIDTH).expect("one");
        prop_assert_eq!(Estimate::counted(&run.client), expected);
        let (client, server) = (run.client.trace.expect("a trace"), run.server.trace.expect("a trace"));
        for check in trace::check(&program, &client, &server).expect("shares that match") {
            prop_assert!(check.holds(), "{:?}", check);
        }
        prop_assert_eq!(run.client.labels.expect("labels"), trace::labels(&program, &client, &server).expect("scores"));
    }
}
