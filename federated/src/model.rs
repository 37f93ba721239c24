//! Models as files: safetensors. Tensors of floating-point numbers are averaged, all others stay as the base has them; the
//! new model's file is the base's with other numbers in it.

use std::path::Path;

use half::{bf16, f16};
use safetensors::{Dtype, SafeTensors};

use crate::codec::{Target, Update};
use crate::error::{Error, Result};
use crate::message::{Digest, hash};
use crate::plan::Averaged;

/// The metadata key of the number of examples that a model was trained on.
pub const EXAMPLES: &str = "examples";

/// A tensor of floating-point numbers in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Tensor {
    name: String,
    dtype: Dtype,
    shape: Vec<usize>,
    /// Where its bytes are.
    start: usize,
    elements: usize,
}

/// A model's file.
#[derive(Clone)]
pub struct Model {
    bytes: Vec<u8>,
    tensors: Vec<Tensor>,
    examples: Option<u64>,
    /// For messages.
    shown: String,
}

impl std::fmt::Debug for Model {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Model({})", self.shown)
    }
}

/// Bytes of a number, for those types that are averaged.
fn size(dtype: Dtype) -> Option<usize> {
    match dtype {
        Dtype::F16 | Dtype::BF16 => Some(2),
        Dtype::F32 => Some(4),
        Dtype::F64 => Some(8),
        _ => None,
    }
}

impl Model {
    /// Reads a file.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Input`] naming the file and what is wrong.
    pub fn load(path: &Path) -> Result<Self> {
        let bytes = std::fs::read(path).map_err(|source| Error::Io { path: path.to_owned(), source })?;
        Self::from_bytes(bytes, &path.display().to_string())
    }

    /// Takes the bytes of a file; `shown` is for messages.
    ///
    /// # Errors
    /// [`Error::Input`] for bytes that aren't a safetensors file, or have no floating-point numbers.
    pub fn from_bytes(bytes: Vec<u8>, shown: &str) -> Result<Self> {
        let wrong = |what: String| Error::Input(format!("{shown}: {what}"));
        let (header, metadata) =
            SafeTensors::read_metadata(&bytes).map_err(|e| wrong(format!("not a safetensors file: {e:?}")))?;
        let start = header + size_of::<u64>();
        let examples = metadata.metadata().as_ref().and_then(|m| m.get(EXAMPLES));
        let examples = examples.map(|text| {
            let count = text.parse().map_err(|_| text.chars().take(40).collect::<String>());
            count.map_err(|text| wrong(format!("metadata {EXAMPLES:?}: found {text:?}, expected a number")))
        });
        let examples = examples.transpose()?;
        let mut tensors = Vec::new();
        for (name, info) in metadata.tensors() {
            let Some(size) = size(info.dtype) else { continue };
            let (from, to) = info.data_offsets;
            let (start, elements) = (start + from, (to - from) / size);
            if start + elements * size > bytes.len() || info.shape.iter().product::<usize>() != elements {
                return Err(wrong(format!("tensor {name:?} is cut short")));
            }
            tensors.push(Tensor { name, dtype: info.dtype, shape: info.shape.clone(), start, elements });
        }
        tensors.sort_by(|a, b| a.name.cmp(&b.name));
        if tensors.iter().all(|t| t.elements == 0) {
            return Err(wrong("found no tensor of F16, BF16, F32 or F64, expected one at least".to_owned()));
        }
        Ok(Self { bytes, tensors, examples, shown: shown.to_owned() })
    }

    /// The model with fewer tensors that are averaged: those that `kept` takes. All others stay as the base has them.
    ///
    /// # Errors
    /// [`Error::Input`] naming the file where none is left.
    pub fn keeping(mut self, kept: impl Fn(&str) -> bool) -> Result<Self> {
        self.tensors.retain(|t| kept(&t.name));
        if self.tensors.iter().all(|t| t.elements == 0) {
            return Err(Error::Input(format!(
                "{}: found no tensor left to average, expected one at least",
                self.shown
            )));
        }
        Ok(self)
    }

    /// The model with the tensors of a Plan alone.
    ///
    /// # Errors
    /// [`Error::Input`] naming the file and a tensor that it doesn't have so.
    pub fn planned(self, tensors: &[Averaged]) -> Result<Self> {
        for expected in tensors {
            let (name, elements) = (&expected.name, expected.elements);
            let found = self.tensors.iter().find(|t| t.name == *name).map_or(0, |t| t.elements as u64);
            if found != elements {
                let shown = &self.shown;
                return Err(Error::Input(format!(
                    "{shown}: tensor {name:?}: found {found} elements, expected {elements} as in the plan"
                )));
            }
        }
        self.keeping(|name| tensors.iter().any(|t| t.name == name))
    }

    /// Takes over the tensors that a Plan leaves to each member from its own model.
    pub fn adopt(&mut self, own: &Self, averaged: &[Averaged]) {
        for (i, tensor) in self.tensors.clone().iter().enumerate() {
            let same = |t: &&Tensor| (&t.name, t.dtype, &t.shape) == (&tensor.name, tensor.dtype, &tensor.shape);
            let place = own.tensors.iter().position(|t| same(&t));
            if let Some(place) = place.filter(|_| averaged.iter().all(|a| a.name != tensor.name)) {
                let mut values = vec![0.0; tensor.elements];
                own.read(place, 0, &mut values);
                Self::write(self, i, 0, &values);
            }
        }
    }

    /// The file.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Of the file.
    pub fn digest(&self) -> Digest {
        hash(&self.bytes)
    }

    /// The number of examples that its metadata states.
    pub fn examples(&self) -> Option<u64> {
        self.examples
    }

    /// What is averaged of it, with one clip for all.
    pub fn layout(&self, clip: f64) -> Vec<Averaged> {
        let averaged = |t: &Tensor| Averaged { name: t.name.clone(), elements: t.elements as u64, clip };
        self.tensors.iter().map(averaged).collect()
    }

    /// Holds this model's tensors to those of the base: names, types and shapes.
    ///
    /// # Errors
    /// [`Error::Input`] naming the file and the tensor.
    pub fn held_to(&self, base: &Self) -> Result<()> {
        let wrong = |what: String| Err(Error::Input(format!("{}: {what}", self.shown)));
        for expected in &base.tensors {
            let name = &expected.name;
            let Some(found) = self.tensors.iter().find(|t| t.name == *name) else {
                return wrong(format!(
                    "tensor {name:?}: found none, expected {:?} as in {}",
                    expected.shape, base.shown
                ));
            };
            if (found.dtype, &found.shape) != (expected.dtype, &expected.shape) {
                let [a, b] = [found, expected].map(|t| format!("{:?} {:?}", t.dtype, t.shape));
                return wrong(format!("tensor {name:?}: found {a}, expected {b} as in {}", base.shown));
            }
        }
        match self.tensors.iter().find(|t| base.tensors.iter().all(|b| b.name != t.name)) {
            Some(more) => wrong(format!("tensor {:?}: expected none, as in {}", more.name, base.shown)),
            None => Ok(()),
        }
    }

    fn read(&self, tensor: usize, first: usize, out: &mut [f64]) {
        let Tensor { dtype, start, .. } = self.tensors[tensor];
        let size = size(dtype).unwrap_or_default();
        let bytes = &self.bytes[start + first * size..][..out.len() * size];
        match dtype {
            Dtype::F16 => each(bytes, out, |b| f16::from_le_bytes(b).to_f64()),
            Dtype::BF16 => each(bytes, out, |b| bf16::from_le_bytes(b).to_f64()),
            Dtype::F32 => each(bytes, out, |b| f32::from_le_bytes(b).into()),
            _ => each(bytes, out, f64::from_le_bytes),
        }
    }

    fn write(&mut self, tensor: usize, first: usize, values: &[f64]) {
        let Tensor { dtype, start, .. } = self.tensors[tensor];
        let size = size(dtype).unwrap_or_default();
        let bytes = &mut self.bytes[start + first * size..][..values.len() * size];
        match dtype {
            Dtype::F16 => put(bytes, values, |x| f16::from_f64(x).to_le_bytes()),
            Dtype::BF16 => put(bytes, values, |x| bf16::from_f64(x).to_le_bytes()),
            Dtype::F32 => put(bytes, values, |x| (x as f32).to_le_bytes()),
            _ => put(bytes, values, f64::to_le_bytes),
        }
    }
}

fn each<const N: usize>(bytes: &[u8], out: &mut [f64], read: impl Fn([u8; N]) -> f64) {
    out.iter_mut().zip(bytes.as_chunks::<N>().0).for_each(|(out, b)| *out = read(*b));
}

fn put<const N: usize>(bytes: &mut [u8], values: &[f64], write: impl Fn(f64) -> [u8; N]) {
    bytes.as_chunks_mut::<N>().0.iter_mut().zip(values).for_each(|(b, x)| *b = write(*x));
}

/// What a model has changed of its base.
pub struct Difference<'a> {
    base: &'a Model,
    local: &'a Model,
    /// Where each tensor of the base is among the local model's.
    places: Vec<usize>,
}

impl<'a> Difference<'a> {
    /// Of a model that has the base's tensors.
    ///
    /// # Errors
    /// Those of [`Model::held_to`].
    pub fn new(base: &'a Model, local: &'a Model) -> Result<Self> {
        local.held_to(base)?;
        let place = |t: &Tensor| local.tensors.iter().position(|l| l.name == t.name).unwrap_or_default();
        let places = base.tensors.iter().map(place).collect();
        Ok(Self { base, local, places })
    }
}

impl Update for Difference<'_> {
    fn read(&self, tensor: usize, first: usize, out: &mut [f64]) {
        self.local.read(self.places[tensor], first, out);
        let mut base = [0.0; 256];
        for (i, out) in out.chunks_mut(base.len()).enumerate() {
            let base = &mut base[..out.len()];
            self.base.read(tensor, first + i * 256, base);
            out.iter_mut().zip(&*base).for_each(|(out, base)| *out -= base);
        }
    }
}

/// Averages are added to the model: it is the base before, the new model after.
impl Target for Model {
    fn write(&mut self, tensor: usize, first: usize, averages: &[f64]) {
        let mut values = vec![0.0; averages.len()];
        self.read(tensor, first, &mut values);
        values.iter_mut().zip(averages).for_each(|(x, average)| *x += average);
        Self::write(self, tensor, first, &values);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use safetensors::tensor::TensorView;

    use super::*;

    fn file(tensors: &[(&str, Dtype, Vec<u8>)], examples: Option<&str>) -> Vec<u8> {
        let views = tensors.iter().map(|(name, dtype, bytes)| {
            let elements = bytes.len() * 8 / dtype.bitsize();
            (*name, TensorView::new(*dtype, vec![elements], bytes).unwrap())
        });
        let metadata = examples.map(|e| HashMap::from([(EXAMPLES.to_owned(), e.to_owned())]));
        safetensors::serialize(views, metadata).unwrap()
    }

    #[test]
    fn numbers_of_every_type_are_read_and_written() {
        let f32s: Vec<u8> = [0.5f32, -2.0].iter().flat_map(|x| x.to_le_bytes()).collect();
        let halves: Vec<u8> = [0.5f32, -2.0].iter().flat_map(|x| f16::from_f32(*x).to_le_bytes()).collect();
        let brains: Vec<u8> = [0.5f32, -2.0].iter().flat_map(|x| bf16::from_f32(*x).to_le_bytes()).collect();
        let doubles: Vec<u8> = [0.5f64, -2.0].iter().flat_map(|x| x.to_le_bytes()).collect();
        let tensors = [
            ("b", Dtype::F32, f32s),
            ("a", Dtype::F16, halves),
            ("c", Dtype::BF16, brains),
            ("d", Dtype::F64, doubles),
            ("steps", Dtype::I64, vec![7; 16]),
        ];
        let mut model = Model::from_bytes(file(&tensors, Some("412")), "m").unwrap();
        assert_eq!(model.examples(), Some(412));
        let names: Vec<_> = model.layout(1.0).into_iter().map(|t| t.name).collect();
        assert_eq!(names, ["a", "b", "c", "d"]);
        let base = model.clone();
        for tensor in 0..4 {
            Target::write(&mut model, tensor, 1, &[1.5]);
        }
        let difference = Difference::new(&base, &model).unwrap();
        for tensor in 0..4 {
            let mut out = [0.0; 2];
            difference.read(tensor, 0, &mut out);
            assert_eq!(out, [0.0, 1.5], "{tensor}");
        }
        assert_eq!(model.bytes().len(), base.bytes().len());
        assert_ne!(model.digest(), base.digest());
    }

    #[test]
    fn tensors_that_are_not_averaged_stay_or_are_each_members_own() {
        let bytes = |x: f32| x.to_le_bytes().to_vec();
        let model = |w: f32, bn: f32| {
            let file = file(&[("w", Dtype::F32, bytes(w)), ("bn", Dtype::F32, bytes(bn))], None);
            Model::from_bytes(file, "m").unwrap()
        };
        let kept = model(1.0, 2.0).keeping(|name| name != "bn").unwrap();
        let plan = kept.layout(1.0);
        assert_eq!(plan.len(), 1);
        assert_eq!(model(1.0, 2.0).planned(&plan).unwrap().layout(1.0), plan);
        let (mut base, own) = (model(1.0, 2.0), model(3.0, 4.0));
        base.adopt(&own, &plan);
        assert_eq!(base.bytes(), model(1.0, 4.0).bytes());
        assert!(model(1.0, 2.0).keeping(|_| false).unwrap_err().to_string().contains("no tensor left"));
        let more = [Averaged { elements: 5, ..plan[0].clone() }];
        assert!(model(1.0, 2.0).planned(&more).unwrap_err().to_string().contains("found 1 elements, expected 5"));
    }

    #[test]
    fn what_does_not_fit_the_base_is_named() {
        let model = |name: &str, dtype, len| Model::from_bytes(file(&[(name, dtype, vec![0; len])], None), "local");
        let base = model("w", Dtype::F32, 8).unwrap();
        let error = |m: Result<Model>| m.unwrap().held_to(&base).unwrap_err().to_string();
        assert!(error(model("v", Dtype::F32, 8)).contains("tensor \"w\": found none"));
        assert!(error(model("w", Dtype::F32, 12)).contains("found F32 [3], expected F32 [2]"));
        assert!(error(model("w", Dtype::F64, 16)).contains("found F64 [2]"));
        let more = file(&[("w", Dtype::F32, vec![0; 8]), ("x", Dtype::F32, vec![0; 8])], None);
        assert!(error(Model::from_bytes(more, "local")).contains("tensor \"x\": expected none"));
        assert!(model("w", Dtype::I64, 8).unwrap_err().to_string().contains("found no tensor"));
        assert!(Model::from_bytes(vec![9; 30], "x").unwrap_err().to_string().starts_with("x: not a safetensors"));
        let wrong = file(&[("w", Dtype::F32, vec![0; 8])], Some("many"));
        assert!(Model::from_bytes(wrong, "x").unwrap_err().to_string().contains("examples"));
    }
}
