//! A network of rows: dense layers with ReLU between them, trained on cross-entropy by gradients with momentum.

use std::collections::HashMap;

use blindvox_engine::Prng;
use safetensors::Dtype;
use safetensors::tensor::TensorView;

use super::table::Row;
use crate::error::{Error, Result};
use crate::model::EXAMPLES;

const RATE: f32 = 0.02;
const MOMENTUM: f32 = 0.9;
/// Rows of a step.
const BATCH: usize = 16;

/// A dense layer: `weights[out][in]` in a row, then a bias an output.
#[derive(Clone, Debug, PartialEq)]
struct Dense {
    inputs: usize,
    weights: Vec<f32>,
    bias: Vec<f32>,
}

impl Dense {
    fn zeros(inputs: usize, outputs: usize) -> Self {
        Self { inputs, weights: vec![0.0; inputs * outputs], bias: vec![0.0; outputs] }
    }

    fn apply(&self, x: &[f32]) -> Vec<f32> {
        let row = |(w, b): (&[f32], &f32)| b + w.iter().zip(x).map(|(w, x)| w * x).sum::<f32>();
        self.weights.chunks(self.inputs).zip(&self.bias).map(row).collect()
    }

    fn parameters(&mut self) -> impl Iterator<Item = &mut f32> {
        self.weights.iter_mut().chain(&mut self.bias)
    }
}

/// A network.
#[derive(Clone, Debug, PartialEq)]
pub struct Network(Vec<Dense>);

impl Network {
    /// Random weights (He's widths), no biases.
    pub fn new(widths: &[usize], prng: &mut Prng) -> Self {
        let mut layer = |inputs: usize, outputs: usize| {
            let mut dense = Dense::zeros(inputs, outputs);
            let scale = (2.0 / inputs as f32).sqrt();
            // Sums of twelve uniform numbers are normal enough.
            let mut normal = || (0..12).map(|_| prng.next_u32() as f32 / u32::MAX as f32).sum::<f32>() - 6.0;
            dense.weights.iter_mut().for_each(|w| *w = scale * normal());
            dense
        };
        Self(widths.windows(2).map(|pair| layer(pair[0], pair[1])).collect())
    }

    /// What goes into each layer, and what comes out of the last.
    fn forward(&self, x: &[f32]) -> Vec<Vec<f32>> {
        let mut values = vec![x.to_vec()];
        for (i, layer) in self.0.iter().enumerate() {
            let mut out = layer.apply(&values[i]);
            if i + 1 < self.0.len() {
                out.iter_mut().for_each(|x| *x = x.max(0.0));
            }
            values.push(out);
        }
        values
    }

    /// Adds the gradient of a row's cross-entropy.
    fn backward(&self, row: &Row, gradient: &mut [Dense]) {
        let values = self.forward(&row.features);
        let scores = &values[self.0.len()];
        let most = scores.iter().copied().fold(f32::MIN, f32::max);
        let mut delta: Vec<f32> = scores.iter().map(|s| (s - most).exp()).collect();
        let sum: f32 = delta.iter().sum();
        delta.iter_mut().for_each(|d| *d /= sum);
        delta[row.class] -= 1.0;
        for (i, layer) in self.0.iter().enumerate().rev() {
            let (x, into) = (&values[i], &mut gradient[i]);
            for ((w, b), d) in into.weights.chunks_mut(layer.inputs).zip(&mut into.bias).zip(&delta) {
                w.iter_mut().zip(x).for_each(|(w, x)| *w += d * x);
                *b += d;
            }
            let back = |k: usize| {
                let sum: f32 = layer.weights.chunks(layer.inputs).zip(&delta).map(|(w, d)| w[k] * d).sum();
                if x[k] > 0.0 { sum } else { 0.0 }
            };
            delta = (0..layer.inputs).map(back).collect();
        }
    }

    /// Goes through the rows `epochs` times in steps of a few rows, each time in another order.
    pub fn train(&mut self, rows: &[Row], epochs: usize, prng: &mut Prng) {
        let zeros = || self.0.iter().map(|l| Dense::zeros(l.inputs, l.bias.len())).collect::<Vec<_>>();
        let (mut speed, mut order) = (zeros(), (0..rows.len()).collect::<Vec<_>>());
        let nothing = zeros();
        for _ in 0..epochs {
            (1..order.len()).for_each(|i| order.swap(i, (prng.next_u32() as usize) % (i + 1)));
            for batch in order.chunks(BATCH) {
                let mut gradient = nothing.clone();
                batch.iter().for_each(|&i| self.backward(&rows[i], &mut gradient));
                let layers = self.0.iter_mut().zip(&mut speed).zip(&mut gradient);
                for ((layer, speed), gradient) in layers {
                    let steps = layer.parameters().zip(speed.parameters()).zip(gradient.parameters());
                    for ((x, v), g) in steps {
                        *v = MOMENTUM * *v - RATE * *g / batch.len() as f32;
                        *x += *v;
                    }
                }
            }
        }
    }

    /// The class with the largest score; the last of equal ones.
    pub fn class(&self, features: &[f32]) -> usize {
        let scores = self.forward(features).pop().unwrap_or_default();
        scores.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).map_or(0, |(class, _)| class)
    }

    /// The share of rows whose class has the largest score.
    pub fn accuracy(&self, rows: &[Row]) -> f64 {
        let right = rows.iter().filter(|row| {
            let values = self.forward(&row.features);
            let scores = &values[self.0.len()];
            scores.iter().enumerate().all(|(i, s)| i == row.class || *s < scores[row.class])
        });
        right.count() as f64 / rows.len().max(1) as f64
    }

    /// As a safetensors file, `I.weight` and `I.bias`, with the number of examples in its metadata.
    ///
    /// # Errors
    /// [`Error::Input`] for layers that have no form as a file.
    pub fn to_file(&self, examples: Option<usize>) -> Result<Vec<u8>> {
        let bytes = |x: &[f32]| x.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>();
        let mut tensors = Vec::new();
        for (i, layer) in self.0.iter().enumerate() {
            tensors.push((format!("{i}.weight"), vec![layer.bias.len(), layer.inputs], bytes(&layer.weights)));
            tensors.push((format!("{i}.bias"), vec![layer.bias.len()], bytes(&layer.bias)));
        }
        let wrong = |e: safetensors::SafeTensorError| Error::Input(format!("{e:?}"));
        let views = tensors.iter().map(|(name, shape, bytes)| {
            TensorView::new(Dtype::F32, shape.clone(), bytes).map(|view| (name.as_str(), view)).map_err(wrong)
        });
        let metadata = examples.map(|n| HashMap::from([(EXAMPLES.to_owned(), n.to_string())]));
        safetensors::serialize(views.collect::<Result<Vec<_>>>()?, metadata).map_err(wrong)
    }

    /// Reads what [`Self::to_file`] wrote of a network of the same widths.
    ///
    /// # Errors
    /// [`Error::Input`] for anything else.
    pub fn read(&mut self, file: &[u8]) -> Result<()> {
        let wrong = |e: safetensors::SafeTensorError| Error::Input(format!("the network's file: {e:?}"));
        let tensors = safetensors::SafeTensors::deserialize(file).map_err(wrong)?;
        for (i, layer) in self.0.iter_mut().enumerate() {
            for (name, values) in [("weight", &mut layer.weights), ("bias", &mut layer.bias)] {
                let tensor = tensors.tensor(&format!("{i}.{name}")).map_err(wrong)?;
                let numbers = tensor.data().as_chunks::<4>().0;
                values.iter_mut().zip(numbers).for_each(|(x, b)| *x = f32::from_le_bytes(*b));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A gradient is the slope of the loss, by small differences.
    #[test]
    fn gradients_are_slopes() {
        let mut prng = Prng::from_seed_for_tests([1; 32]);
        let mut network = Network::new(&[5, 7, 3], &mut prng);
        let row = Row { features: vec![0.3, -1.0, 0.5, 2.0, -0.2], class: 1 };
        let loss = |network: &Network| {
            let scores = network.forward(&row.features).pop().unwrap();
            scores.iter().map(|s| f64::from(*s).exp()).sum::<f64>().ln() - f64::from(scores[1])
        };
        let mut gradient: Vec<Dense> = network.0.iter().map(|l| Dense::zeros(l.inputs, l.bias.len())).collect();
        network.backward(&row, &mut gradient);
        for (layer, gradient) in gradient.iter().enumerate() {
            for i in [0, 3, 12] {
                let before = network.0[layer].weights[i];
                let mut at = |x: f32| {
                    network.0[layer].weights[i] = x;
                    loss(&network)
                };
                let slope = (at(before + 1e-2) - at(before - 1e-2)) / 2e-2;
                at(before);
                assert!((slope - f64::from(gradient.weights[i])).abs() < 1e-3, "layer {layer}, weight {i}");
            }
        }
    }

    #[test]
    fn networks_read_back_from_their_files() {
        let mut prng = Prng::from_seed_for_tests([1; 32]);
        let network = Network::new(&[5, 7, 3], &mut prng);
        let mut other = Network::new(&[5, 7, 3], &mut prng);
        other.read(&network.to_file(Some(3)).unwrap()).unwrap();
        assert_eq!(other, network);
        assert!(Network::new(&[5, 7, 3, 2], &mut prng).read(&network.to_file(None).unwrap()).is_err());
    }
}
