//! Forty-five trained networks of rows with their test vectors, with a dealer: both presets against the integers that the
//! networks came with. Reads `cryptmed/` beside the Decathlon's volumes, and skips where that is not there.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use blindvox_engine::Prng;
use blindvox_models::format::graph::Function;
use blindvox_models::integers::pieces::Pieces;
use blindvox_models::{Linear, LinearKind, Program, Rounding, Step, TensorInfo, plain};
use blindvox_protocols::cryptmed::local::local;
use blindvox_protocols::cryptmed::plan::{Preset, Reveal, SCORE_BITS, Terms};
use blindvox_protocols::cryptmed::session::Answer;
use safetensors::SafeTensors;

/// Fraction bits of the vectors.
const BITS: i32 = 12;

const NETS: [&str; 5] = ["breast", "diabetes", "liver", "thyroid", "mnist"];

const ACTIVATIONS: [(&str, Function); 9] = [
    ("relu", Function::Relu),
    ("relu6", Function::Relu6),
    ("leaky", Function::LeakyRelu),
    ("binary", Function::Binary),
    ("sigmoid_plan2", Function::SigmoidPlan2),
    ("sigmoid_logsqnl", Function::SigmoidLogsqnl),
    ("tanh_pla", Function::TanhPla),
    ("tanh_sqnl", Function::TanhSqnl),
    ("elu_sqlu", Function::EluSqlu),
];

fn folder() -> PathBuf {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
    std::env::var_os("BLINDVOX_DATA").map_or_else(beside, PathBuf::from).join("cryptmed")
}

/// A tensor of 16 or 32 bits, and its rows.
fn integers(file: &SafeTensors<'_>, name: &str) -> (Vec<i32>, usize) {
    let tensor = file.tensor(name).expect("a tensor");
    let values = match tensor.dtype() {
        safetensors::Dtype::I16 => {
            tensor.data().as_chunks::<2>().0.iter().map(|b| i16::from_le_bytes(*b).into()).collect()
        }
        _ => tensor.data().as_chunks::<4>().0.iter().map(|b| i32::from_le_bytes(*b)).collect(),
    };
    (values, tensor.shape()[0])
}

/// The network; activations whose polynomials need it have fewer fraction bits.
fn program(file: &SafeTensors<'_>, function: Function) -> Arc<Program> {
    let real = function.pieces(0.01).expect("in pieces");
    let g = Pieces::largest_scale(&real, BITS, 64.0);
    let pieces = Pieces::new("activation", &real, g, 64 << g).expect("in range");
    let tensor = |channels: usize, scale_bits: i32| {
        let name = format!("{channels} values");
        TensorInfo { name, channels, dims: [1; 3], scale_bits, max_abs: 0, spare_bits: 0, bits: 20 }
    };
    let (mut tensors, mut steps) = (Vec::new(), Vec::new());
    for layer in 0..3 {
        let (weights, out_channels) = integers(file, &format!("q.fc{layer}.weight"));
        let (bias, _) = integers(file, &format!("q.fc{layer}.bias"));
        let in_channels = weights.len() / out_channels;
        if layer == 0 {
            tensors.push(tensor(in_channels, BITS));
        }
        let input = tensors.len() - 1;
        // Weights have 12 bits, biases 24.
        let sums = tensors[input].scale_bits + BITS;
        let scale = if layer == 2 { sums - BITS.min(sums - g) } else { g };
        tensors.push(tensor(out_channels, scale));
        steps.push(Step::Linear(Linear {
            name: format!("fc{layer}"),
            kind: LinearKind::conv([1; 3]),
            inputs: vec![input],
            in_channels,
            out_channels,
            weights,
            weight_bits: 16,
            bias: bias.iter().map(|b| b >> (2 * BITS - sums)).collect(),
            bias_map: None,
            shift: (sums - scale) as u32,
            output: input + 1,
        }));
        if layer < 2 {
            tensors.push(tensor(out_channels, g));
            let (name, input) = (format!("activation{layer}"), input + 1);
            steps.push(Step::Activation { name, input, output: input + 1, pieces: pieces.clone() });
        }
    }
    let (logits, classes) = (tensors.len() - 1, tensors[tensors.len() - 1].channels);
    steps.push(Step::Argmax { name: "class".into(), input: logits, bits: 20 });
    Arc::new(Program { tensors, steps, input: 0, logits, classes })
}

/// Whether an activation reads a value within two units of zero.
fn is_near_a_jump(program: &Program, row: &[i32]) -> bool {
    let (_, trace) = plain::run_with_trace(program, row, Rounding::Nearest);
    program.steps.iter().any(|step| match step {
        Step::Activation { input, .. } => trace[*input].iter().any(|x| x.abs() <= 2),
        _ => false,
    })
}

#[test]
fn networks_reach_their_test_vectors() {
    let folder = folder();
    if !folder.is_dir() {
        eprintln!("SKIPPED: no networks in {} (BLINDVOX_DATA names another place)", folder.display());
        return;
    }
    for net in NETS {
        for (name, function) in ACTIVATIONS {
            let bytes = std::fs::read(folder.join(format!("{net}_{name}.safetensors"))).expect("a network");
            let file = SafeTensors::deserialize(&bytes).expect("a network");
            let program = program(&file, function);
            let ((x, rows), (y, _)) = (integers(&file, "test.x"), integers(&file, "test.y"));
            let inputs: Vec<Vec<i32>> = x.chunks(x.len() / rows).map(<[i32]>::to_vec).collect();
            for preset in [Preset::Dealer, Preset::Paper] {
                let terms = Terms { reveal: Reveal::Scores, preset };
                let out = local(&program, terms, std::slice::from_ref(&inputs), &mut Prng::from_os().expect("a seed"));
                let answer = out.expect("a run").client.remove(0).answer;
                let Some(Answer::Scores(scores)) = answer else { panic!("scores") };
                let rows = scores.iter().zip(y.chunks(program.classes)).zip(&inputs);
                // A sum that is truncated by shares, to a unit, may come out on the other side of a jump.
                let by_shares = function == Function::Binary && preset == Preset::Paper;
                let told: Vec<_> = rows.filter(|(_, row)| !(by_shares && is_near_a_jump(&program, row))).collect();
                assert!(2 * told.len() > scores.len(), "{net} with {name}: {} of {} rows", told.len(), scores.len());
                let most = told.iter().flat_map(|((s, w), _)| s.iter().zip(*w)).map(|(s, w)| {
                    // Revealed are 4 of the 12 bits, rounded down.
                    let unit = 1 << (BITS - SCORE_BITS);
                    let (low, high) = (s * unit, (s + 1) * unit - 1);
                    if *w < low { low - w } else { (w - high).max(0) }
                });
                let most = most.max().unwrap_or(0);
                // Units of 2^-12: comparisons alone, and polynomials.
                let limit = match function {
                    Function::Relu | Function::Relu6 | Function::Binary => 6,
                    _ => 26,
                };
                assert!(most <= limit, "{net} with {name}, {preset:?}: off by {most} units");
            }
        }
    }
}
