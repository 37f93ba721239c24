//! Times every linear layer of a network, both parties in one process, and checks the results.
//!
//! `cargo run --release -p blindvox-protocols --example linear_layers [-- demo|large [SCALE]]`: the layers of the
//! shipped hippocampus network at 32x48x32, or those of a large U-Net (64 to 512 channels) whose first level has 64 /
//! SCALE voxels a side. Weights are random, so only time and traffic mean anything.

use std::time::Instant;

use blindvox_engine::bfv::{Params, SecretKey};
use blindvox_engine::{Device, Prng};
use blindvox_models::LinearKind;
use blindvox_net::channel::local_pair;
use blindvox_protocols::linear::hom_conv::{client, ideal, server};
use blindvox_protocols::linear::{Bias, LinearSpec, Model, Plan};

const CUBE: LinearKind = LinearKind::conv([3; 3]);
const UP: LinearKind = LinearKind::Transposed2 { factor: [2; 3] };
const HEAD: LinearKind = LinearKind::conv([1; 3]);

fn demo() -> Vec<(&'static str, LinearKind, usize, usize, [usize; 3])> {
    let (full, half, quarter) = ([32, 48, 32], [16, 24, 16], [8, 12, 8]);
    vec![
        ("enc.0.0", CUBE, 1, 8, full),
        ("enc.0.2", CUBE, 8, 8, full),
        ("enc.1.0", CUBE, 8, 16, half),
        ("enc.1.2", CUBE, 16, 16, half),
        ("enc.2.0", CUBE, 16, 32, quarter),
        ("enc.2.2", CUBE, 32, 32, quarter),
        ("up.1", UP, 32, 16, quarter),
        ("dec.1.0", CUBE, 32, 16, half),
        ("dec.1.2", CUBE, 16, 16, half),
        ("up.0", UP, 16, 8, half),
        ("dec.0.0", CUBE, 16, 8, full),
        ("dec.0.2", CUBE, 8, 8, full),
        ("head", HEAD, 8, 3, full),
    ]
}

fn large(scale: usize) -> Vec<(&'static str, LinearKind, usize, usize, [usize; 3])> {
    let side = |level: u32| [(64 >> level) / scale; 3];
    vec![
        ("enc.0.0", CUBE, 1, 64, side(0)),
        ("enc.0.2", CUBE, 64, 64, side(0)),
        ("enc.1.0", CUBE, 64, 128, side(1)),
        ("enc.1.2", CUBE, 128, 128, side(1)),
        ("enc.2.0", CUBE, 128, 256, side(2)),
        ("enc.2.2", CUBE, 256, 256, side(2)),
        ("enc.3.0", CUBE, 256, 512, side(3)),
        ("enc.3.2", CUBE, 512, 512, side(3)),
        ("up.2", UP, 512, 256, side(3)),
        ("dec.2.0", CUBE, 512, 256, side(2)),
        ("up.1", UP, 256, 128, side(2)),
        ("dec.1.0", CUBE, 256, 128, side(1)),
        ("up.0", UP, 128, 64, side(1)),
        ("dec.0.0", CUBE, 128, 64, side(0)),
        ("head", HEAD, 64, 4, side(0)),
    ]
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let scale = arguments.get(1).map_or(Ok(1), |s| s.parse())?;
    let layers = match arguments.first().map(String::as_str) {
        None | Some("demo") => demo(),
        Some("large") => large(scale),
        Some(other) => return Err(format!("{other}: demo or large").into()),
    };
    let device = Device::cpu();
    let mut prng = Prng::from_os()?;
    let secret = SecretKey::generate(&Params::hom_conv(), &device, &mut prng)?;
    let public = secret.public_key(&mut prng)?;
    println!("{device:?}");
    println!("layer    tile         pack  inputs replies products weights |  predicted  measured ms | MB up   down");
    let (mut total, mut up, mut down, mut predicted) = (0.0, 0, 0, 0.0);
    for (name, kind, inputs, outputs, size) in layers {
        let output_size = kind.output_dims(size);
        let spec = LinearSpec { name: name.into(), kind, inputs, outputs, size, output_size, weight_bits: 12 };
        let plan = Plan::new(&spec)?;
        let weights: Vec<i32> = prng.fill::<i32>(plan.weights_len()).iter().map(|w| w >> 20).collect();
        let (x, y): (Vec<u32>, Vec<u32>) = (prng.fill(plan.input_len()), prng.fill(plan.input_len()));
        let model = Model { weights: &weights, bias: Bias::None };
        let (mut to_server, mut to_client) = local_pair();
        let (mut of_client, mut of_server) = (prng.fork("client"), prng.fork("server"));
        let start = Instant::now();
        let (a, b) = std::thread::scope(|scope| {
            let there = scope.spawn(|| client(&mut to_server, &secret, &mut of_client, &plan, &x));
            let here = server(&mut to_client, &public, &mut of_server, &plan, model, &y);
            (there.join().expect("the client's thread"), here)
        });
        let (a, b) = (a?, b?);
        let ms = start.elapsed().as_secs_f64() * 1e3;
        if plan.spec().inputs * plan.weights_len() < 1 << 20 {
            let sum = |a: &[u32], b: &[u32]| -> Vec<u32> { a.iter().zip(b).map(|(a, b)| a.wrapping_add(*b)).collect() };
            assert!(sum(&a, &b) == ideal(&plan, model, &sum(&x, &y)), "{name}: exact");
        }
        let (cost, e) = (plan.cost(), plan.encoding());
        println!(
            "{name:8} {:12} {}x{:<3} {:6} {:7} {:8} {:7} | {:9.1} {ms:9.1}    | {:6.1} {:6.1}",
            format!("{:?}", e.tile()).replace(' ', ""),
            e.in_pack(),
            e.out_pack(),
            cost.inputs,
            cost.replies,
            cost.products,
            cost.weights,
            cost.nanoseconds() / 2e6,
            cost.bytes_up as f64 / 1e6,
            cost.bytes_down as f64 / 1e6,
        );
        total += ms;
        predicted += cost.nanoseconds() / 2e6;
        up += cost.bytes_up;
        down += cost.bytes_down;
    }
    println!(
        "in all: {total:.0} ms, predicted {predicted:.0} ms, {:.1} MB up, {:.1} MB down",
        up as f64 / 1e6,
        down as f64 / 1e6
    );
    Ok(())
}
