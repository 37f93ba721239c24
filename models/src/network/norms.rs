//! Instance normalisations with fixed statistics: factors and offsets, which linear layers before them take.

use super::{Linear, Network, Op, Scale};
use crate::error::{Error, Result};
use crate::integers::calibration::Norms;

impl Network {
    /// The same network with the given means and variances in the place of a scan's own, where there are such; the
    /// other normalisations stay.
    ///
    /// # Errors
    /// [`Error::Model`] naming the node, for another number of channels.
    pub(crate) fn folded(mut self, norms: &Norms) -> Result<Self> {
        let mut readers = vec![0; self.nodes.len()];
        self.nodes.iter().flat_map(|n| &n.inputs).chain([&self.scores]).for_each(|&i| readers[i] += 1);
        for at in 0..self.nodes.len() {
            let node = &self.nodes[at];
            let (Op::InstanceNorm { scale, eps, .. }, Some(moments)) = (&node.op, norms.get(&node.name)) else {
                continue;
            };
            let (found, expected) = (moments.len(), node.shape.channels);
            if found != expected {
                let name = &node.name;
                return Err(Error::Model(format!(
                    "calibration.norms: {name:?}: found {found} channels, expected {expected}"
                )));
            }
            let scale = scale.normalised(moments, *eps);
            let before = node.inputs[0];
            let alone = readers[before] == 1;
            self.nodes[at].op = Op::Scale(match &mut self.nodes[before].op {
                Op::Linear(linear) | Op::Interleaved(linear, _) if alone => {
                    linear.scale(&scale);
                    Scale { factor: vec![1.0; expected], offset: vec![0.0; expected] }
                }
                _ => scale,
            });
        }
        Ok(self)
    }
}

impl Linear {
    /// Multiplies the outputs of each channel and adds to them; of phases, all those of a channel.
    fn scale(&mut self, scale: &Scale) {
        let phases = self.bias.len() / scale.factor.len();
        let row = self.weights.len() / self.bias.len();
        for (o, row) in self.weights.chunks_exact_mut(row).enumerate() {
            let (factor, offset) = (scale.factor[o / phases], scale.offset[o / phases]);
            row.iter_mut().for_each(|w| *w = (f64::from(*w) * factor) as f32);
            self.bias[o] = self.bias[o] * factor + offset;
        }
    }
}
