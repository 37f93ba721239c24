//! What is estimated of a run before there is one, beside runs over emulated links: bytes and waits.

use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use blindvox_engine::Device;
use blindvox_models::data::nifti::Volume;
use blindvox_models::{Bundle, Program, testing};
use blindvox_net::testing::link;
use blindvox_protocols::infer::session::plans;
use blindvox_protocols::infer::{Client, Comparison, Estimate, LinkSpeed, Options, Outcome, Server, Source, forecast};

/// Both ends over a link; what the client has.
fn over(program: &Arc<Program>, input: &[i32], options: &Options, speed: LinkSpeed) -> Outcome {
    let (client, server) = link(speed.bits_per_second, speed.round_trip / 2);
    thread::scope(|scope| {
        let server = scope.spawn(|| Server::new(program.clone(), options.clone()).serve(server).unwrap());
        let client = Client::connect(client, options.clone()).unwrap().run(input, &mut ()).unwrap();
        server.join().unwrap();
        client
    })
}

fn held(name: &str, program: Program, input: &[i32], links: &[&str]) {
    let (program, plans) = (Arc::new(program.clone()), plans(&program).unwrap());
    for (compare, ot) in [
        (Comparison::SignSelect, Source::SoftSpoken),
        (Comparison::Transfers, Source::SoftSpoken),
        (Comparison::Transfers, Source::Silent),
    ] {
        let mut options = Options::new(Device::cpu());
        (options.ways.compare, options.ways.ot) = (compare, ot);
        for link in links {
            let speed: LinkSpeed = link.parse().unwrap();
            let probe = forecast::Probe { slowness: 1.0, threads: 2.0 };
            let expected = forecast::forecast(&program, &plans, &options.ways, speed, &probe).unwrap();
            let found = over(&program, input, &options, speed);
            let counted = Estimate::counted(&found).total().total() as f64;
            println!(
                "{name} {compare:?} {ot:?} {link}: bytes {counted} of {}, waits {} of {}",
                expected.bytes.total().total(),
                found.waits,
                expected.waits
            );
        }
    }
}

#[test]
fn small_networks_wait_as_often_as_estimated() {
    for (name, written) in [("tiny", testing::tiny()), ("planar", testing::tiny_planar())] {
        let (program, input) = written.program();
        held(name, program, &input, &["1Gbit,40ms", "10Gbit,20ms"]);
    }
}

#[test]
fn shipped_models_wait_as_often_as_estimated() {
    let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("../demo");
    let scan = demo.join("volumes/images/colin27_left.nii.gz");
    let volume = Volume::load(&scan).unwrap();
    for name in ["hippo_hybrid", "hippo_quad", "hippo_relu"] {
        let bundle = Bundle::load(&demo.join("models").join(name)).unwrap();
        let program = bundle.program().unwrap();
        let input = bundle.prepare(&program, &volume, &scan).unwrap().integers;
        held(name, program, &input, &["10Gbit,60ms", "10Gbit,100ms"]);
    }
    let _ = Duration::ZERO;
}
