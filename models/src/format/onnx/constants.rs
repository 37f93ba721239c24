//! Nodes that read constants alone: exporters compute shapes, paddings and slices with them.

use super::proto::Node;
use super::tensor::{Data, Reader, Tensor};

/// The most elements of a constant that is computed.
const MAX_COMPUTED: usize = 1 << 20;

/// What a node gives; `None` where it isn't one of those that are computed.
pub(super) fn evaluate(node: &Node, inputs: &[Option<&Tensor>], reader: &Reader) -> Option<Tensor> {
    let input = |at: usize| inputs.get(at).copied().flatten();
    let list = |at: usize, name: &str| input(at).map_or_else(|| node.ints(name), Tensor::as_ints);
    let x = input(0);
    match node.op_type.as_str() {
        "Constant" => constant(node, reader),
        "ConstantOfShape" => {
            let dims = sizes(x?.as_ints()?)?;
            let count = counted(&dims)?;
            let value = node.tensor("value").and_then(|t| reader.read(t).ok());
            let data = match value.map(|v| v.data) {
                Some(Data::Int(v)) => Data::Int(vec![*v.first()?; count]),
                Some(Data::Float(v)) => Data::Float(vec![*v.first()?; count]),
                None => Data::Float(vec![0.0; count]),
            };
            Some(Tensor { dims, data })
        }
        "Identity" | "Dropout" => x.cloned(),
        "Shape" => Some(Tensor::ints(x?.dims.iter().map(|&d| d as i64).collect())),
        "Cast" => cast(x?, node.int("to", 1)),
        "Floor" => each(x?, f32::floor, |v| v),
        "Ceil" => each(x?, f32::ceil, |v| v),
        "Neg" => each(x?, |v| -v, i64::wrapping_neg),
        "Sqrt" => each(x?, f32::sqrt, |_| 0),
        "Add" => both(x?, input(1)?, |a, b| a + b, |a, b| a.checked_add(b)),
        "Sub" => both(x?, input(1)?, |a, b| a - b, |a, b| a.checked_sub(b)),
        "Mul" => both(x?, input(1)?, |a, b| a * b, |a, b| a.checked_mul(b)),
        "Div" => both(x?, input(1)?, |a, b| a / b, |a, b| a.checked_div(b)),
        "Unsqueeze" => unsqueeze(x?, list(1, "axes")?),
        "Squeeze" => squeeze(x?, list(1, "axes")),
        "Reshape" => reshape(x?, input(1)?.as_ints()?),
        "Transpose" => transpose(x?, node.ints("perm")),
        "Gather" if node.int("axis", 0) == 0 => gather(x?, input(1)?),
        "Concat" if node.int("axis", 0) == 0 => concat(inputs),
        "Slice" => slice(x?, list(1, "starts")?, list(2, "ends")?, list(3, "axes"), input(4).and_then(Tensor::as_ints)),
        "Range" => {
            let ends = [x?, input(1)?, input(2)?].map(|t| t.as_ints().and_then(|v| v.first().copied()));
            let [from, to, step] = [ends[0]?, ends[1]?, ends[2]?];
            let span = to.checked_sub(from)?.checked_add(step.checked_sub(step.signum())?)?;
            let count = usize::try_from(span.checked_div(step)?).ok().filter(|&n| n <= MAX_COMPUTED)?;
            Some(Tensor::ints((0..count as i64).map(|i| from + i * step).collect()))
        }
        _ => None,
    }
}

fn constant(node: &Node, reader: &Reader) -> Option<Tensor> {
    if let Some(tensor) = node.tensor("value") {
        return reader.read(tensor).ok();
    }
    let (floats, ints, scalar) = node.numbers()?;
    let data = if floats.is_empty() { Data::Int(ints) } else { Data::Float(floats) };
    let mut tensor = Tensor { dims: Vec::new(), data };
    if !scalar {
        tensor.dims = vec![tensor.len()];
    }
    Some(tensor)
}

/// As dimensions.
fn sizes(list: &[i64]) -> Option<Vec<usize>> {
    list.iter().map(|&d| usize::try_from(d).ok()).collect()
}

fn counted(dims: &[usize]) -> Option<usize> {
    dims.iter().try_fold(1usize, |n, &d| n.checked_mul(d)).filter(|&n| n <= MAX_COMPUTED)
}

/// An axis that may count from the end.
pub(super) fn axis(axis: i64, rank: usize) -> Option<usize> {
    usize::try_from(if axis < 0 { axis.checked_add(rank as i64)? } else { axis }).ok().filter(|&a| a <= rank)
}

fn cast(x: &Tensor, to: i64) -> Option<Tensor> {
    let data = match (to, &x.data) {
        (1 | 10 | 11 | 16, _) => Data::Float(x.floats()),
        (2..=7 | 9 | 12 | 13, Data::Float(v)) => Data::Int(v.iter().map(|&v| v as i64).collect()),
        (2..=7 | 9 | 12 | 13, Data::Int(v)) => Data::Int(v.clone()),
        _ => return None,
    };
    Some(Tensor { dims: x.dims.clone(), data })
}

fn each(x: &Tensor, float: fn(f32) -> f32, int: fn(i64) -> i64) -> Option<Tensor> {
    let data = match &x.data {
        Data::Float(v) => Data::Float(v.iter().map(|&v| float(v)).collect()),
        Data::Int(v) => Data::Int(v.iter().map(|&v| int(v)).collect()),
    };
    Some(Tensor { dims: x.dims.clone(), data })
}

/// Element by element; one of the two may be a single number.
fn both(a: &Tensor, b: &Tensor, float: fn(f32, f32) -> f32, int: fn(i64, i64) -> Option<i64>) -> Option<Tensor> {
    if a.dims != b.dims && (a.len() != 1 && b.len() != 1 || a.len() == 0 || b.len() == 0) {
        return None;
    }
    // Of two single numbers the one of higher rank.
    let larger = if (a.len(), a.dims.len()) >= (b.len(), b.dims.len()) { a } else { b };
    let count = larger.len();
    let at = |t: &Tensor, i: usize| if t.len() == 1 { 0 } else { i };
    let data = match (&a.data, &b.data) {
        (Data::Int(x), Data::Int(y)) => {
            Data::Int((0..count).map(|i| int(x[at(a, i)], y[at(b, i)])).collect::<Option<_>>()?)
        }
        _ => {
            let (x, y) = (a.floats(), b.floats());
            Data::Float((0..count).map(|i| float(x[at(a, i)], y[at(b, i)])).collect())
        }
    };
    Some(Tensor { dims: larger.dims.clone(), data })
}

fn unsqueeze(x: &Tensor, axes: &[i64]) -> Option<Tensor> {
    let rank = x.dims.len() + axes.len();
    let mut axes = axes.iter().map(|&a| axis(a, rank)).collect::<Option<Vec<_>>>()?;
    axes.sort_unstable();
    let mut dims = x.dims.clone();
    for at in axes {
        if at > dims.len() {
            return None;
        }
        dims.insert(at, 1);
    }
    Some(Tensor { dims, data: x.data.clone() })
}

fn squeeze(x: &Tensor, axes: Option<&[i64]>) -> Option<Tensor> {
    let rank = x.dims.len();
    let axes = axes.map(|axes| axes.iter().map(|&a| axis(a, rank)).collect::<Option<Vec<_>>>());
    let gone = match axes {
        None => None,
        Some(axes) => Some(axes?),
    };
    let stays = |at: usize, d: usize| d != 1 || gone.as_ref().is_some_and(|gone| !gone.contains(&at));
    let dims = x.dims.iter().enumerate().filter(|&(at, &d)| stays(at, d)).map(|(_, &d)| d).collect();
    Some(Tensor { dims, data: x.data.clone() })
}

/// The dimensions that a reshape asks for.
pub(super) fn reshaped(dims: &[usize], wanted: &[i64]) -> Option<Vec<usize>> {
    let all: usize = dims.iter().product();
    let mut out = Vec::with_capacity(wanted.len());
    for (at, &size) in wanted.iter().enumerate() {
        out.push(match size {
            0 => *dims.get(at)?,
            -1 => 1,
            size => usize::try_from(size).ok()?,
        });
    }
    if let Some(free) = wanted.iter().position(|&s| s == -1) {
        let rest = out.iter().try_fold(1usize, |n, &d| n.checked_mul(d))?;
        out[free] = all.checked_div(rest)?;
    }
    let total = out.iter().try_fold(1usize, |n, &d| n.checked_mul(d))?;
    (total == all).then_some(out)
}

fn reshape(x: &Tensor, wanted: &[i64]) -> Option<Tensor> {
    Some(Tensor { dims: reshaped(&x.dims, wanted)?, data: x.data.clone() })
}

/// A selection of elements by their numbers.
fn picked(x: &Tensor, dims: Vec<usize>, places: impl Iterator<Item = Option<usize>>) -> Option<Tensor> {
    let places = places.collect::<Option<Vec<_>>>()?;
    let data = match &x.data {
        Data::Float(v) => Data::Float(places.iter().map(|&at| v.get(at).copied()).collect::<Option<_>>()?),
        Data::Int(v) => Data::Int(places.iter().map(|&at| v.get(at).copied()).collect::<Option<_>>()?),
    };
    Some(Tensor { dims, data })
}

fn transpose(x: &Tensor, perm: Option<&[i64]>) -> Option<Tensor> {
    let rank = x.dims.len();
    let perm: Vec<usize> = match perm {
        Some(perm) => sizes(perm)?,
        None => (0..rank).rev().collect(),
    };
    let mut sorted = perm.clone();
    sorted.sort_unstable();
    if sorted != (0..rank).collect::<Vec<_>>() {
        return None;
    }
    let strides: Vec<usize> = (0..rank).map(|at| x.dims[at + 1..].iter().product()).collect();
    let dims: Vec<usize> = perm.iter().map(|&p| x.dims[p]).collect();
    let count = counted(&dims)?;
    let place = |at: usize| {
        let mut rest = at;
        let mut from = 0;
        for (&d, &p) in dims.iter().zip(&perm).rev() {
            from += rest % d * strides[p];
            rest /= d;
        }
        Some(from)
    };
    picked(x, dims.clone(), (0..count).map(place))
}

fn gather(x: &Tensor, indices: &Tensor) -> Option<Tensor> {
    let (&first, rest) = x.dims.split_first()?;
    let block = rest.iter().product::<usize>();
    let rows: Vec<usize> = indices.as_ints()?.iter().map(|&i| axis(i, first)).collect::<Option<_>>()?;
    let dims = [&indices.dims[..], rest].concat();
    counted(&dims)?;
    picked(x, dims, rows.iter().flat_map(|&r| (0..block).map(move |i| Some(r * block + i))))
}

fn concat(inputs: &[Option<&Tensor>]) -> Option<Tensor> {
    let parts = inputs.iter().copied().collect::<Option<Vec<_>>>()?;
    let rest = parts.first()?.dims.get(1..)?.to_vec();
    let same = parts.iter().all(|p| p.dims.get(1..) == Some(&rest[..]));
    let first = parts.iter().map(|p| p.dims.first().copied().unwrap_or(0)).sum::<usize>();
    let dims = [&[first], &rest[..]].concat();
    counted(&dims)?;
    let ints = parts.iter().map(|p| p.as_ints()).collect::<Option<Vec<_>>>();
    let data = match ints {
        Some(ints) => Data::Int(ints.concat()),
        None => Data::Float(parts.iter().flat_map(|p| p.floats()).collect()),
    };
    same.then_some(Tensor { dims, data })
}

fn slice(x: &Tensor, starts: &[i64], ends: &[i64], axes: Option<&[i64]>, steps: Option<&[i64]>) -> Option<Tensor> {
    let mut out = x.clone();
    for (i, (&start, &end)) in starts.iter().zip(ends).enumerate() {
        let at = match axes {
            Some(axes) => axis(*axes.get(i)?, x.dims.len())?,
            None => i,
        };
        let step = steps.map_or(Some(1), |s| s.get(i).copied())?;
        out = sliced(&out, at, [start, end, step])?;
    }
    Some(out)
}

/// One axis from a start to an end, which count from the end where they are negative, and are clamped.
fn sliced(x: &Tensor, at: usize, [start, end, step]: [i64; 3]) -> Option<Tensor> {
    let size = *x.dims.get(at)? as i64;
    let from_end = |v: i64| if v < 0 { v.saturating_add(size) } else { v };
    let (low, high) = if step > 0 { (0, size) } else { (-1, size - 1) };
    let start = from_end(start).clamp(low, high);
    // "Down to and with the first" is written as a number far below 0.
    let end = if step < 0 && end < -size { -1 } else { from_end(end).clamp(low, high) };
    if step == 0 {
        return None;
    }
    let along: Vec<usize> = std::iter::successors(Some(start), |v| v.checked_add(step))
        .take_while(|&v| if step > 0 { v < end } else { v > end })
        .map(|v| v as usize)
        .collect();
    let mut dims = x.dims.clone();
    dims[at] = along.len();
    let inner: usize = x.dims[at + 1..].iter().product();
    let outer: usize = x.dims[..at].iter().product();
    let size = size as usize;
    let places = (0..outer).flat_map(|o| along.iter().map(move |&a| o * size + a));
    picked(x, dims, places.flat_map(|row| (0..inner).map(move |i| Some(row * inner + i))))
}

#[cfg(test)]
mod tests {
    use super::super::proto::{Attribute, Node};
    use super::*;

    fn run(op: &str, inputs: &[Tensor], attributes: &[(&str, i64, &[i64])]) -> Option<Tensor> {
        let attribute = |&(name, i, ints): &(&str, i64, &[i64])| Attribute {
            name: name.into(),
            i,
            ints: ints.into(),
            ..Default::default()
        };
        let node =
            Node { op_type: op.into(), attribute: attributes.iter().map(attribute).collect(), ..Default::default() };
        let inputs: Vec<_> = inputs.iter().map(Some).collect();
        evaluate(&node, &inputs, &Reader { folder: ".".into() })
    }

    /// What torch's older exporter makes of `pad`: zeros appended, in pairs, turned around, transposed.
    #[test]
    fn a_chain_of_shapes_folds() {
        let ints = |v: &[i64]| Tensor::ints(v.to_vec());
        let zeros =
            run("ConstantOfShape", &[ints(&[4])], &[]).and_then(|z| run("Cast", &[z], &[("to", 7, &[])])).unwrap();
        let all = run("Concat", &[ints(&[0, 1, 2, 3, 4, 5]), zeros], &[("axis", 0, &[])]).unwrap();
        let pairs = run("Reshape", &[all, ints(&[-1, 2])], &[]).unwrap();
        let turned = run("Slice", &[pairs, ints(&[-1]), ints(&[i64::MIN + 1]), ints(&[0]), ints(&[-1])], &[]).unwrap();
        let flat = run("Transpose", &[turned], &[("perm", 0, &[1, 0])]).unwrap();
        let flat = run("Reshape", &[flat, ints(&[-1])], &[]).unwrap();
        assert_eq!(flat, ints(&[0, 0, 4, 2, 0, 0, 0, 5, 3, 1]));
    }

    #[test]
    fn shapes_are_taken_apart_and_put_together() {
        let ints = |v: &[i64]| Tensor::ints(v.to_vec());
        let shape = ints(&[1, 4, 8, 6]);
        let third = run("Gather", &[shape.clone(), Tensor { dims: vec![], data: Data::Int(vec![2]) }], &[]).unwrap();
        assert_eq!((third.dims.len(), third.as_ints()), (0, Some(&[8][..])));
        let twice = run("Mul", &[third, ints(&[2])], &[]).unwrap();
        assert_eq!(
            run("Slice", std::slice::from_ref(&shape), &[("starts", 0, &[1]), ("ends", 0, &[-1])]).unwrap(),
            ints(&[4, 8])
        );
        assert_eq!(run("Concat", &[twice, ints(&[5])], &[("axis", 0, &[])]).unwrap(), ints(&[16, 5]));
        assert_eq!(run("Unsqueeze", &[shape.clone(), ints(&[0])], &[]).unwrap().dims, [1, 4]);
        assert_eq!(run("Range", &[ints(&[1]), ints(&[8]), ints(&[3])], &[]).unwrap(), ints(&[1, 4, 7]));
        // Nothing that is wrong is computed.
        assert!(run("Add", &[shape.clone(), ints(&[1, 2, 3])], &[]).is_none());
        assert!(run("Add", &[ints(&[]), ints(&[1])], &[]).is_none());
        assert!(run("Reshape", &[shape.clone(), ints(&[3, -1])], &[]).is_none());
        assert!(run("Gather", &[shape.clone(), ints(&[4])], &[]).is_none());
        assert!(run("Div", &[shape.clone(), ints(&[0])], &[]).is_none());
        assert!(run("Range", &[ints(&[1]), ints(&[8]), ints(&[0])], &[]).is_none());
        assert!(run("ConstantOfShape", &[ints(&[i64::MAX, 2])], &[]).is_none());
        assert!(run("Slice", &[shape, ints(&[0]), ints(&[9]), ints(&[0]), ints(&[0])], &[]).is_none());
    }
}
