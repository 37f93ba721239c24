//! Linear maps between planes of tensors, as sparse matrices that keep their zeros: what is in them follows from the
//! structure of a layer alone.
//!
//! A map of volumes is a few planar matrices, each used between many pairs of planes: a convolution has one for each of
//! its taps along the third axis.

use std::collections::BTreeMap;

use blindvox_models::LinearKind;
use blindvox_models::network::{Linear, Shape};

/// A weight between two elements of planes, each by its number in the order channel, y, x.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Entry {
    /// Of the output plane.
    pub row: u32,
    /// Of the input plane.
    pub col: u32,
    /// What multiplies it.
    pub weight: f64,
}

/// A map of planes to planes.
#[derive(Clone, Debug, PartialEq)]
pub struct Slabs {
    /// Planes of the output and of the input.
    pub planes: [usize; 2],
    /// Elements of a plane of each.
    pub elements: [usize; 2],
    /// The matrices.
    pub classes: Vec<Vec<Entry>>,
    /// By output plane and input plane the matrix between them.
    pub uses: BTreeMap<(usize, usize), usize>,
}

/// Taps of an axis: (tap, input place), of an output place.
fn taps(kind: &LinearKind, axis: usize, size: usize, at: usize) -> Vec<(usize, usize)> {
    match *kind {
        LinearKind::Conv { kernel, stride, padding } => (0..kernel[axis])
            .filter_map(|k| Some((k, (stride[axis] * at + k).checked_sub(padding[axis])?)))
            .filter(|&(_, from)| from < size)
            .collect(),
        LinearKind::Transposed2 { factor } => vec![(at % factor[axis], at / factor[axis])],
    }
}

impl Slabs {
    /// Of a linear layer.
    pub fn linear(linear: &Linear, input: Shape, output: Shape) -> Self {
        let [_, h, w] = input.dims;
        let [_, oh, ow] = output.dims;
        let [kd, kh, kw] = linear.kind.taps();
        let pairs = |axis: usize| -> Vec<(usize, usize, usize)> {
            let places = 0..output.dims[axis];
            places
                .flat_map(|at| taps(&linear.kind, axis, input.dims[axis], at).into_iter().map(move |(k, i)| (at, k, i)))
                .collect()
        };
        let (ys, xs) = (pairs(1), pairs(2));
        let tap = |kz: usize| {
            let mut entries = Vec::new();
            for (o, c) in (0..output.channels).flat_map(|o| (0..input.channels).map(move |c| (o, c))) {
                let weights = (o * input.channels + c) * linear.kind.volume() + kz * kh * kw;
                for &(oy, ky, y) in &ys {
                    entries.extend(xs.iter().map(|&(ox, kx, x)| Entry {
                        row: ((o * oh + oy) * ow + ox) as u32,
                        col: ((c * h + y) * w + x) as u32,
                        weight: linear.weights[weights + ky * kw + kx].into(),
                    }));
                }
            }
            entries
        };
        let uses = pairs(0).into_iter().map(|(zo, k, zi)| ((zo, zi), k)).collect();
        Self {
            planes: [output.dims[0], input.dims[0]],
            elements: [output.channels * oh * ow, input.channels * h * w],
            classes: (0..kd).map(tap).collect(),
            uses,
        }
    }

    /// The mean over windows side by side.
    pub fn mean(window: [usize; 3], input: Shape, output: Shape) -> Self {
        let [_, h, w] = input.dims;
        let [_, oh, ow] = output.dims;
        let weight = 1.0 / window.iter().product::<usize>() as f64;
        let mut entries = Vec::new();
        for c in 0..input.channels {
            for (y, x) in (0..oh * window[1]).flat_map(|y| (0..ow * window[2]).map(move |x| (y, x))) {
                let row = ((c * oh + y / window[1]) * ow + x / window[2]) as u32;
                entries.push(Entry { row, col: ((c * h + y) * w + x) as u32, weight });
            }
        }
        let uses = (0..output.dims[0] * window[0]).map(|zi| ((zi / window[0], zi), 0)).collect();
        Self {
            planes: [output.dims[0], input.dims[0]],
            elements: [output.channels * oh * ow, input.channels * h * w],
            classes: vec![entries],
            uses,
        }
    }

    /// A factor a channel.
    pub fn diagonal(factors: &[f64], dims: [usize; 3]) -> Self {
        let voxels = dims[1] * dims[2];
        let count = factors.len() * voxels;
        let entry = |i: usize| Entry { row: i as u32, col: i as u32, weight: factors[i / voxels] };
        Self {
            planes: [dims[0]; 2],
            elements: [count; 2],
            classes: vec![(0..count).map(entry).collect()],
            uses: (0..dims[0]).map(|z| ((z, z), 0)).collect(),
        }
    }

    /// Of the input's elements `from..from + count` alone.
    pub fn columns(&self, from: usize, count: usize) -> Self {
        let range = from as u32..(from + count) as u32;
        let part = |class: &Vec<Entry>| {
            let inside = class.iter().filter(|e| range.contains(&e.col));
            inside.map(|e| Entry { col: e.col - range.start, ..*e }).collect()
        };
        let classes = self.classes.iter().map(part).collect();
        Self { classes, elements: [self.elements[0], count], ..self.clone() }
    }

    /// Each input element times the factor of its channel of so many voxels.
    pub fn scaled(mut self, factors: &[f64], voxels: usize) -> Self {
        self.classes.iter_mut().flatten().for_each(|e| e.weight *= factors[e.col as usize / voxels]);
        self
    }

    /// The same with its rows at `from..` of `count`.
    pub fn at_rows(mut self, from: usize, count: usize) -> Self {
        self.classes.iter_mut().flatten().for_each(|e| e.row += from as u32);
        self.elements[0] = count;
        self
    }

    /// The same with no matrix used twice for one output plane.
    pub fn apart(mut self) -> Self {
        let mut copies: BTreeMap<(usize, usize), usize> = BTreeMap::new();
        let mut seen: BTreeMap<(usize, usize), usize> = BTreeMap::new();
        for ((zo, _), class) in &mut self.uses {
            let times = seen.entry((*zo, *class)).or_insert(0);
            *times += 1;
            if *times > 1 {
                *class = *copies.entry((*class, *times)).or_insert_with(|| {
                    self.classes.push(self.classes[*class].clone());
                    self.classes.len() - 1
                });
            }
        }
        self
    }

    /// This map of what another makes.
    pub fn after(&self, other: &Self) -> Self {
        let mut pairs: BTreeMap<(usize, usize), Vec<(usize, usize)>> = BTreeMap::new();
        for (&(zo, zm), &a) in &self.uses {
            for (&(_, zi), &b) in other.uses.range((zm, 0)..(zm + 1, 0)) {
                pairs.entry((zo, zi)).or_default().push((a, b));
            }
        }
        let (mut known, mut classes, mut uses) = (BTreeMap::new(), Vec::new(), BTreeMap::new());
        for (planes, mut factors) in pairs {
            factors.sort_unstable();
            let class = *known.entry(factors.clone()).or_insert_with(|| {
                classes.push(self.sum_of_products(other, &factors));
                classes.len() - 1
            });
            uses.insert(planes, class);
        }
        let (planes, elements) = ([self.planes[0], other.planes[1]], [self.elements[0], other.elements[1]]);
        Self { planes, elements, classes, uses }
    }

    fn sum_of_products(&self, other: &Self, factors: &[(usize, usize)]) -> Vec<Entry> {
        let factors: Vec<_> = factors
            .iter()
            .map(|&(a, b)| [by_row(&self.classes[a], self.elements[0]), by_row(&other.classes[b], other.elements[0])])
            .collect();
        let mut all = Vec::new();
        // Of the row at hand: sums by column, which columns have one.
        let (mut sums, mut seen) = (vec![0.0; other.elements[1]], vec![false; other.elements[1]]);
        for row in 0..self.elements[0] {
            let mut cols = Vec::new();
            for [a, b] in &factors {
                for &(middle, left) in &a[row] {
                    for &(col, right) in &b[middle as usize] {
                        if !std::mem::replace(&mut seen[col as usize], true) {
                            cols.push(col);
                        }
                        sums[col as usize] += left * right;
                    }
                }
            }
            cols.sort_unstable();
            for col in cols {
                seen[col as usize] = false;
                all.push(Entry { row: row as u32, col, weight: std::mem::take(&mut sums[col as usize]) });
            }
        }
        all
    }

    /// The map of a tensor in the order channel, z, y, x, whose planes have so many voxels.
    pub fn apply(&self, x: &[f64], voxels: [usize; 2]) -> Vec<f64> {
        let [planes_out, planes_in] = self.planes;
        let mut y = vec![0.0; self.elements[0] * planes_out];
        let at = |element: u32, z: usize, planes: usize, voxels: usize| {
            (element as usize / voxels * planes + z) * voxels + element as usize % voxels
        };
        for (&(zo, zi), &class) in &self.uses {
            for e in &self.classes[class] {
                y[at(e.row, zo, planes_out, voxels[0])] += e.weight * x[at(e.col, zi, planes_in, voxels[1])];
            }
        }
        y
    }
}

/// (column, weight) by row.
fn by_row(entries: &[Entry], rows: usize) -> Vec<Vec<(u32, f64)>> {
    let mut all = vec![Vec::new(); rows];
    entries.iter().for_each(|e| all[e.row as usize].push((e.col, e.weight)));
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(channels: usize, dims: [usize; 3]) -> Shape {
        Shape { channels, dims }
    }

    fn numbers(count: usize, from: usize) -> Vec<f64> {
        (0..count).map(|i| ((i * 7 + from) % 11) as f64 - 5.0).collect()
    }

    fn random(kind: LinearKind, co: usize, ci: usize) -> Linear {
        let weights = numbers(co * ci * kind.volume(), 3).into_iter().map(|x| x as f32).collect();
        Linear { kind, weights, bias: vec![0.0; co] }
    }

    #[test]
    fn products_are_one_map_after_the_other() {
        let (a, b, c) = (shape(2, [3, 2, 3]), shape(3, [6, 4, 6]), shape(2, [6, 4, 6]));
        let up = Slabs::linear(&random(LinearKind::Transposed2 { factor: [2; 3] }, 3, 2), a, b);
        let conv = Slabs::linear(&random(LinearKind::conv([3; 3]), 2, 3), b, c);
        let x = numbers(a.elements(), 1);
        let both = conv.after(&up);
        let step = conv.apply(&up.apply(&x, [24, 6]), [24, 24]);
        assert_eq!(both.apply(&x, [24, 6]), step);
        // Two parities, each of two planes.
        assert_eq!(both.classes.len(), 4);
        let mean = Slabs::mean([2, 2, 3], c, shape(2, [3, 2, 2]));
        // Twelfths, in another order of addition.
        let once = mean.after(&conv).apply(&numbers(b.elements(), 2), [4, 24]);
        let twice = mean.apply(&conv.apply(&numbers(b.elements(), 2), [24, 24]), [4, 24]);
        assert_eq!(once.len(), twice.len());
        assert!(once.iter().zip(&twice).all(|(a, b)| (a - b).abs() < 1e-12), "{once:?}, {twice:?}");
        let halves = [conv.columns(0, 24), conv.columns(24, 48)];
        let x = numbers(b.elements(), 5);
        let parts = [halves[0].apply(&x[..144], [24, 24]), halves[1].apply(&x[144..], [24, 24])];
        let sum: Vec<f64> = parts[0].iter().zip(&parts[1]).map(|(a, b)| a + b).collect();
        assert_eq!(sum, conv.apply(&x, [24, 24]));
    }
}
