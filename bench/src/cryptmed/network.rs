//! The paper's six networks with random weights: what they cost does not depend on them.

use std::sync::Arc;

use blindvox_engine::Prng;
use blindvox_models::format::graph::Function;
use blindvox_models::integers::pieces::Pieces;
use blindvox_models::{Linear, LinearKind, Program, Step, TensorInfo};

/// Fraction bits of inputs, weights and activations.
const BITS: i32 = 12;

/// An activation by its name in a bundle.
pub(super) fn function(name: &str) -> Option<Function> {
    serde_json::from_value(serde_json::Value::String(name.into())).ok()
}

/// A network and how many activations it has.
pub(super) struct Net {
    /// In integers.
    pub program: Arc<Program>,
    /// Elements that the activation is applied to.
    pub activations: usize,
}

struct Builder {
    prng: Prng,
    pieces: Pieces,
    /// Fraction bits of what the activation reads and writes.
    inner: i32,
    tensors: Vec<TensorInfo>,
    steps: Vec<Step>,
    activations: usize,
}

/// One of [`super::paper::NETS`] with an activation.
pub(super) fn net(name: &str, function: Function) -> Option<Net> {
    let real = function.pieces(0.01)?;
    let inner = Pieces::largest_scale(&real, BITS, 64.0);
    let pieces = Pieces::new(name, &real, inner, 64 << inner).ok()?;
    let prng = Prng::from_seed_for_tests([7; 32]);
    let mut b = Builder { prng, pieces, inner, tensors: Vec::new(), steps: Vec::new(), activations: 0 };
    let sizes: &[usize] = match name {
        "breast" => &[30, 16, 16, 2],
        "diabetes" => &[8, 20, 20, 2],
        "liver" => &[10, 32, 32, 2],
        "thyroid" => &[21, 100, 100, 3],
        "mnist" => &[784, 128, 128, 10],
        "cifar10" => &[],
        _ => return None,
    };
    if sizes.is_empty() {
        b.tensor(3, [1, 32, 32], BITS);
        for (channels, pooled) in
            [(64, false), (64, true), (64, false), (64, true), (64, false), (64, false), (16, false)]
        {
            b.linear([1, 3, 3], channels, true);
            if pooled {
                b.pool();
            }
        }
        b.flatten();
        b.linear([1; 3], 10, false);
    } else {
        b.tensor(sizes[0], [1; 3], BITS);
        sizes[1..].iter().enumerate().for_each(|(at, &size)| b.linear([1; 3], size, at + 2 < sizes.len()));
    }
    let logits = b.tensors.len() - 1;
    b.steps.push(Step::Argmax { name: "class".into(), input: logits, bits: 19 });
    let classes = b.tensors[logits].channels;
    let program = Program { tensors: b.tensors, steps: b.steps, input: 0, logits, classes };
    Some(Net { program: Arc::new(program), activations: b.activations })
}

impl Builder {
    fn tensor(&mut self, channels: usize, dims: [usize; 3], scale_bits: i32) -> usize {
        let name = format!("t{}", self.tensors.len());
        self.tensors.push(TensorInfo { name, channels, dims, scale_bits, max_abs: 0, spare_bits: 0, bits: 20 });
        self.tensors.len() - 1
    }

    fn linear(&mut self, kernel: [usize; 3], channels: usize, activated: bool) {
        let input = self.tensors.len() - 1;
        let TensorInfo { channels: from, dims, scale_bits, .. } = self.tensors[input].clone();
        let out = if activated { self.inner } else { BITS };
        let depth = from * kernel.iter().product::<usize>();
        // Pooled values have more fraction bits, weights as many fewer.
        let bits = 2 * BITS - scale_bits;
        // Uniform with the deviation that keeps values' size.
        let most = ((6.0 / depth as f64).sqrt() * f64::from(1 << bits)) as u32;
        let mut draw = |most: u32| (self.prng.next_u32() % (2 * most + 1)) as i32 - most as i32;
        let weights = (0..depth * channels).map(|_| draw(most)).collect();
        let bias = (0..channels).map(|_| draw(1 << 20)).collect();
        let output = self.tensor(channels, dims, out);
        let name = format!("linear{}", self.steps.len());
        let kind = LinearKind::conv(kernel);
        let shift = (2 * BITS - out) as u32;
        self.steps.push(Step::Linear(Linear {
            name,
            kind,
            inputs: vec![input],
            in_channels: from,
            out_channels: channels,
            weights,
            weight_bits: 16,
            bias,
            bias_map: None,
            shift,
            output,
        }));
        if activated {
            let to = self.tensor(channels, dims, out);
            self.activations += self.tensors[to].elements();
            let name = format!("activation{}", self.steps.len());
            self.steps.push(Step::Activation { name, input: output, output: to, pieces: self.pieces.clone() });
        }
    }

    fn pool(&mut self) {
        let input = self.tensors.len() - 1;
        let TensorInfo { channels, dims: [d, h, w], scale_bits, .. } = self.tensors[input].clone();
        let output = self.tensor(channels, [d, h / 2, w / 2], scale_bits + 2);
        let name = format!("pool{}", self.steps.len());
        self.steps.push(Step::AvgPool { name, input, output, window: [1, 2, 2] });
    }

    fn flatten(&mut self) {
        let input = self.tensors.len() - 1;
        let (elements, scale_bits) = (self.tensors[input].elements(), self.tensors[input].scale_bits);
        let output = self.tensor(elements, [1; 3], scale_bits);
        self.steps.push(Step::Flatten { name: "flatten".into(), input, output });
    }
}
