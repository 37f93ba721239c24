//! From a network to what slots compute: linear maps with squares between, and sums of windows.
//!
//! What costs no level is folded into the next linear map: normalisations, coefficients of quadratic functions, transposed
//! convolutions and repeated voxels, means, skips. Of a·x^2 + b·x + c only the square of x + b/2a is computed: b/2a goes
//! into the bias before it, a and c - b^2/4a into the map after it.

use blindvox_models::Network;
use blindvox_models::network::{Activation, Node, Op, Shape};

use super::matrix::Slabs;
use crate::error::{Error, Result};

/// A network for slots. Tensor 0 is the input, tensor i + 1 what step i makes.
pub struct Lowered {
    /// The input's shape.
    pub input: Shape,
    /// In order.
    pub steps: Vec<Step>,
}

/// A step.
pub enum Step {
    /// A linear map.
    Linear(LinearStep),
    /// Sums of windows, side by side.
    Sum {
        /// The tensor.
        source: usize,
        /// D, H, W of the window.
        window: [usize; 3],
        /// Of the sums.
        shape: Shape,
    },
}

/// A linear map of one or several tensors, a bias, and perhaps a square.
pub struct LinearStep {
    /// The layer's name.
    pub name: String,
    /// The tensors and their maps.
    pub sources: Vec<(usize, Slabs)>,
    /// One an element, in the order channel, z, y, x.
    pub bias: Vec<f64>,
    /// Of the output.
    pub shape: Shape,
    /// The output's voxels are so many of the input's apart, along both axes of a plane.
    pub pitch: usize,
    /// Whether the result is squared.
    pub square: bool,
}

impl Step {
    /// The shape of the tensor that it makes.
    pub fn shape(&self) -> Shape {
        match self {
            Self::Linear(step) => step.shape,
            Self::Sum { shape, .. } => *shape,
        }
    }
}

/// What the rows of a part are of its tensor.
#[derive(Clone)]
enum Map {
    /// A factor a channel.
    Factors(Vec<f64>),
    Slabs(Slabs),
}

/// Of a value, the elements of a plane `from..`: a map of a tensor.
#[derive(Clone)]
struct Part {
    tensor: usize,
    from: usize,
    map: Map,
}

/// The sum of what parts say, and a constant for each element.
#[derive(Clone)]
struct Value {
    shape: Shape,
    pitch: usize,
    parts: Vec<Part>,
    constant: Vec<f64>,
}

fn voxels(shape: Shape) -> usize {
    shape.dims[1] * shape.dims[2]
}

struct Lowering {
    input: Shape,
    steps: Vec<Step>,
}

/// Lowers a network.
///
/// # Errors
/// [`Error::Model`] naming a layer that slots can't compute, with what they can.
pub fn lower(network: &Network) -> Result<Lowered> {
    let mut lowering = Lowering { input: network.input(), steps: Vec::new() };
    let mut values: Vec<Value> = Vec::new();
    for node in &network.nodes {
        let inputs: Vec<&Value> = node.inputs.iter().map(|&i| &values[i]).collect();
        let before = node.inputs.first().map_or("", |&i| &network.nodes[i].name);
        let value = lowering.value((node, before), &inputs)?;
        values.push(value);
    }
    let scores = &network.nodes[network.scores];
    lowering.linear(&values[network.scores], &scores.name, None)?;
    Ok(Lowered { input: lowering.input, steps: lowering.steps })
}

impl Lowering {
    /// `before` is the name of the first input.
    fn value(&mut self, (node, before): (&Node, &str), inputs: &[&Value]) -> Result<Value> {
        let shape = node.shape;
        let first = inputs.first().copied();
        let refuse = |what: &str| {
            let name = &node.name;
            Error::Model(format!(
                "node {name:?}: found {what}, which ckks can't compute: expected squares, quadratic functions, \
                 convolutions, dense layers, means, sums and concatenations"
            ))
        };
        let value = match (&node.op, first) {
            (Op::Input, _) => Value {
                shape,
                pitch: 1,
                parts: vec![Part { tensor: 0, from: 0, map: Map::Factors(vec![1.0; shape.channels]) }],
                constant: vec![0.0; shape.elements()],
            },
            (_, None) => return Err(refuse("a node without an input")),
            (Op::Linear(linear), Some(x)) => {
                let map = Slabs::linear(linear, x.shape, shape);
                let pitch = match linear.kind {
                    blindvox_models::LinearKind::Conv { stride, .. } => x.pitch * stride[1].max(stride[2]),
                    blindvox_models::LinearKind::Transposed2 { factor } => x.pitch.div_ceil(factor[1].max(factor[2])),
                };
                let mut value = self.mapped(x, &map, shape, pitch);
                let each = shape.voxels();
                value.constant.chunks_exact_mut(each).zip(&linear.bias).for_each(|(c, b)| {
                    c.iter_mut().for_each(|c| *c += b);
                });
                value
            }
            (Op::Activation(Activation::Square), Some(x)) => {
                let n = shape.channels;
                self.activated(before, x, [&vec![1.0; n], &vec![0.0; n], &vec![0.0; n]])?
            }
            (Op::Activation(Activation::Quadratic { a, b, c }), Some(x)) => {
                let [a, b, c] = [a, b, c].map(|v| v.iter().map(|&x| f64::from(x)).collect::<Vec<_>>());
                if a.iter().any(|a| a.abs() < 1e-6) {
                    return Err(refuse("a quadratic function with a coefficient of the square under 1e-6"));
                }
                self.activated(before, x, [&a, &b, &c])?
            }
            (Op::AvgPool(window), Some(x)) => self.pooled(x, *window, shape)?,
            (Op::Concat, Some(_)) => concatenated(inputs, shape),
            (Op::Add, Some(_)) => summed(inputs, shape),
            (Op::Scale(scale), Some(x)) => scaled(x, &scale.factor, &scale.offset),
            (Op::Flatten, Some(x)) if x.shape.dims[0] == 1 => {
                let parts = x.parts.iter().map(|part| Part { map: Map::Slabs(self.slabs(part)), ..part.clone() });
                Value { shape, pitch: x.pitch, parts: parts.collect(), constant: x.constant.clone() }
            }
            (Op::Activation(_), _) => return Err(refuse("an activation that is no polynomial of degree 2")),
            (Op::MaxPool(_) | Op::MinPool(_), _) => return Err(refuse("a maximum or minimum")),
            (Op::Interleaved(..), _) => return Err(refuse("a transposed convolution other than of 2 by stride 2")),
            (Op::InstanceNorm { .. }, _) => return Err(refuse("an instance normalisation")),
            (Op::Resize(..) | Op::Flatten, _) => return Err(refuse("a repetition of voxels, or planes flattened")),
        };
        Ok(value)
    }

    fn shape_of(&self, tensor: usize) -> Shape {
        tensor.checked_sub(1).map_or(self.input, |step| self.steps[step].shape())
    }

    fn slabs(&self, part: &Part) -> Slabs {
        match &part.map {
            Map::Factors(factors) => Slabs::diagonal(factors, self.shape_of(part.tensor).dims),
            Map::Slabs(slabs) => slabs.clone(),
        }
    }

    /// A map of a value.
    fn mapped(&self, x: &Value, map: &Slabs, shape: Shape, pitch: usize) -> Value {
        let part = |part: &Part| {
            let of = self.shape_of(part.tensor);
            let map = match &part.map {
                Map::Factors(factors) => {
                    let count = factors.len() * voxels(of);
                    map.columns(part.from, count).scaled(factors, voxels(of))
                }
                Map::Slabs(slabs) => map.columns(part.from, slabs.elements[0]).after(slabs),
            };
            Part { tensor: part.tensor, from: 0, map: Map::Slabs(map) }
        };
        let constant = map.apply(&x.constant, [voxels(shape), voxels(x.shape)]);
        Value { shape, pitch, parts: x.parts.iter().map(part).collect(), constant }
    }

    /// a·x^2 + b·x + c.
    fn activated(&mut self, name: &str, x: &Value, [a, b, c]: [&Vec<f64>; 3]) -> Result<Value> {
        let shift: Vec<f64> = a.iter().zip(b).map(|(a, b)| b / (2.0 * a)).collect();
        let tensor = self.linear(x, name, Some(&shift))?;
        let each = x.shape.voxels();
        let rest = a.iter().zip(b).zip(c).map(|((a, b), c)| c - b * b / (4.0 * a));
        let constant = rest.flat_map(|rest| std::iter::repeat_n(rest, each)).collect();
        let parts = vec![Part { tensor, from: 0, map: Map::Factors(a.clone()) }];
        Ok(Value { shape: x.shape, pitch: x.pitch, parts, constant })
    }

    /// Makes a tensor of a value, squared after a shift a channel if there is one. Returns its number.
    fn linear(&mut self, x: &Value, name: &str, shift: Option<&[f64]>) -> Result<usize> {
        let mut sources: Vec<(usize, Slabs)> = Vec::new();
        for part in &x.parts {
            let map = self.slabs(part);
            let map = if part.from == 0 && map.elements[0] == x.shape.channels * voxels(x.shape) {
                map
            } else {
                map.at_rows(part.from, x.shape.channels * voxels(x.shape))
            };
            sources.push((part.tensor, map.apart()));
        }
        let mut bias = x.constant.clone();
        if let Some(shift) = shift {
            let each = x.shape.voxels();
            bias.chunks_exact_mut(each).zip(shift).for_each(|(b, s)| b.iter_mut().for_each(|b| *b += s));
        }
        if self.steps.len() > 256 {
            return Err(Error::Model("more than 256 layers for ckks".to_owned()));
        }
        let (shape, pitch, square) = (x.shape, x.pitch, shift.is_some());
        self.steps.push(Step::Linear(LinearStep { name: name.to_owned(), sources, bias, shape, pitch, square }));
        Ok(self.steps.len())
    }

    /// Means: sums of windows of what a tensor is a factor of, else a map.
    fn pooled(&mut self, x: &Value, window: [usize; 3], shape: Shape) -> Result<Value> {
        let map = Slabs::mean(window, x.shape, shape);
        let pitch = x.pitch * window[1].max(window[2]);
        let powers = window[1] == window[2] && window[1].is_power_of_two();
        if let ([Part { tensor, from: 0, map: Map::Factors(factors) }], true, true) =
            (&x.parts[..], powers, shape.voxels() > 1)
            && *tensor > 0
        {
            self.steps.push(Step::Sum { source: *tensor, window, shape });
            let share = 1.0 / window.iter().product::<usize>() as f64;
            let factors = factors.iter().map(|f| f * share).collect();
            let parts = vec![Part { tensor: self.steps.len(), from: 0, map: Map::Factors(factors) }];
            let constant = map.apply(&x.constant, [voxels(shape), voxels(x.shape)]);
            return Ok(Value { shape, pitch, parts, constant });
        }
        Ok(self.mapped(x, &map, shape, pitch))
    }
}

fn concatenated(inputs: &[&Value], shape: Shape) -> Value {
    let (mut parts, mut constant, mut from) = (Vec::new(), Vec::new(), 0);
    for x in inputs {
        parts.extend(x.parts.iter().map(|part| Part { from: part.from + from, ..part.clone() }));
        constant.extend_from_slice(&x.constant);
        from += x.shape.channels * voxels(x.shape);
    }
    Value { shape, pitch: inputs[0].pitch, parts, constant }
}

fn summed(inputs: &[&Value], shape: Shape) -> Value {
    let parts = inputs.iter().flat_map(|x| x.parts.clone()).collect();
    let mut constant = vec![0.0; shape.elements()];
    inputs.iter().for_each(|x| constant.iter_mut().zip(&x.constant).for_each(|(sum, c)| *sum += c));
    Value { shape, pitch: inputs[0].pitch, parts, constant }
}

fn scaled(x: &Value, factor: &[f64], offset: &[f64]) -> Value {
    let mut value = x.clone();
    let (plane, each) = (voxels(x.shape), x.shape.voxels());
    for part in &mut value.parts {
        let first = part.from / plane;
        match &mut part.map {
            Map::Factors(factors) => factors.iter_mut().zip(&factor[first..]).for_each(|(f, by)| *f *= by),
            Map::Slabs(slabs) => {
                slabs.classes.iter_mut().flatten().for_each(|e| e.weight *= factor[first + e.row as usize / plane])
            }
        }
    }
    let channels = value.constant.chunks_exact_mut(each).zip(factor.iter().zip(offset));
    channels.for_each(|(c, (f, o))| c.iter_mut().for_each(|c| *c = *c * f + o));
    value
}
