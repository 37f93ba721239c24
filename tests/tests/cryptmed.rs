//! Forty-five trained networks of rows with their test vectors, with a dealer: every layer of both presets against the
//! integers, then the scores against those that the networks came with. Reads `cryptmed/` beside the Decathlon's volumes,
//! and skips where that is not there.
//!
//! Sums that are truncated by shares come out a unit off, by chance, and what follows makes more of it: how far scores of the
//! published preset lie from the vectors has no narrow bound. So each layer is held to what it may give of the values that
//! both parties' shares of its input say; scores that are opened round exactly, and then all of a run is one network's floors.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use blindvox_engine::Prng;
use blindvox_models::format::graph::Function;
use blindvox_models::integers::pieces::Pieces;
use blindvox_models::{Linear, LinearKind, Program, Step, TensorId, TensorInfo, plain};
use blindvox_net::local_pair;
use blindvox_protocols::cryptmed::dealer::deal;
use blindvox_protocols::cryptmed::plan::{Preset, Reveal, SCORE_BITS, Terms};
use blindvox_protocols::cryptmed::session::{Answer, Session};
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

/// A tensor and its values, \[element\]\[row\].
type Values = (TensorId, Vec<i32>);

/// A run's scores, a list a row, and the values of which both parties held shares.
fn run(program: &Arc<Program>, terms: Terms, rows: &[Vec<i32>]) -> (Vec<Vec<i32>>, Vec<Values>) {
    let [(client, server), (client_dealer, dealer_client), (server_dealer, dealer_server)] =
        [(); 3].map(|()| local_pair());
    thread::scope(|scope| {
        let mut prng = Prng::from_os().expect("a seed");
        scope.spawn(move || deal(dealer_client, dealer_server, &mut prng, u64::MAX));
        let server = scope.spawn(move || {
            let mut session = Session::serve(program, terms, server, server_dealer).expect("a session");
            session.keep_shares();
            session.answer().expect("a run");
            std::mem::take(session.keep_shares())
        });
        let mut session = Session::connect(client, client_dealer).expect("a session");
        session.keep_shares();
        let Some(Answer::Scores(scores)) = session.run(rows).expect("a run").answer else { panic!("scores") };
        let both = session.keep_shares().drain(..).zip(server.join().expect("a run"));
        let values = both.map(|((tensor, a), (_, b))| {
            (tensor, a.iter().zip(b.iter()).map(|(a, b)| a.wrapping_add(*b) as i32).collect())
        });
        (scores, values.collect())
    })
}

/// What an activation may give of a sum from which `shift` bits are taken off: where `exact` the floors, else a unit more for
/// each truncation.
fn may_give(pieces: &Pieces, sum: i64, shift: u32, exact: bool) -> Vec<i64> {
    let most = i64::from(!exact);
    let at = |x: i64| {
        let of =
            |whole: bool| pieces.pieces.iter().filter(move |p| p.whole == whole && p.holds(x)).map(move |p| p.at(x));
        (of(true).sum::<i64>(), of(false).sum::<i64>() >> pieces.shift)
    };
    let again = if pieces.pieces.iter().all(|p| p.whole) { 0 } else { most };
    let values = (0..=most).map(|up| at((sum >> shift) + up));
    values.flat_map(|(whole, rest)| (0..=again).map(move |up| whole + rest + up)).collect()
}

/// Asserts that each layer gave what it may of what it read, and the scores the floors of the last one's sums.
fn check_layers(program: &Program, rows: &[Vec<i32>], exact: bool, (scores, kept): &(Vec<Vec<i32>>, Vec<Values>)) {
    for (at, row) in rows.iter().enumerate() {
        let mut x = row.clone();
        for (layer, steps) in program.steps.chunks(2).enumerate() {
            let (sums, shift) = plain::before_shift(program, &steps[0], &[&x]);
            if let Step::Activation { pieces, output, .. } = &steps[1] {
                let (tensor, values) = &kept[layer];
                assert_eq!((tensor, values.len()), (output, sums.len() * rows.len()));
                x = values.iter().skip(at).step_by(rows.len()).copied().collect();
                for (sum, x) in sums.iter().zip(&x) {
                    let may = may_give(pieces, *sum, shift, exact);
                    assert!(may.contains(&i64::from(*x)), "layer {layer}, row {at}: {x} of {sum}, expected {may:?}");
                }
            } else {
                let more = program.tensors[program.logits].scale_bits - SCORE_BITS;
                let floors: Vec<_> = sums.iter().map(|sum| (sum >> (shift as i32 + more)) as i32).collect();
                assert_eq!(scores[at], floors, "row {at}");
            }
        }
    }
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
                let found = run(&program, Terms { reveal: Reveal::Scores, preset }, &inputs);
                let exact = preset == Preset::Dealer;
                check_layers(&program, &inputs, exact, &found);
                if !exact {
                    continue;
                }
                // The same in every run: each truncation is a floor.
                let rows = found.0.iter().zip(y.chunks(program.classes));
                let most = rows.flat_map(|(s, w)| s.iter().zip(w)).map(|(s, w)| {
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
                assert!(most <= limit, "{net} with {name}: off by {most} units");
            }
        }
    }
}
