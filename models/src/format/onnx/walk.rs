//! One walk over the nodes in their order: constants are computed, all else becomes nodes of the graph, and what can't
//! is noted, so that one message has all of it.

use super::constants::evaluate;
use super::draft::{Draft, Stop, Value};
use super::operators;
use super::proto;
use super::report::Offence;
use super::tensor::Tensor;

impl Draft<'_> {
    /// Walks over all nodes.
    pub(super) fn walk(&mut self, nodes: &[&proto::Node], output: &str) {
        for node in nodes {
            self.makers.extend(node.output.iter().map(|name| (name.clone(), node.op_type.clone())));
            for input in &node.input {
                *self.readers.entry(input.clone()).or_default() += 1;
                self.behind.entry(input.clone()).or_default().push(node.op_type.clone());
            }
        }
        *self.readers.entry(output.to_owned()).or_default() += 1;
        for node in nodes {
            let value = self.value(node);
            if let Some(name) = node.output.first() {
                self.values.insert(name.clone(), value);
            }
            for name in node.output.iter().skip(1) {
                self.values.insert(name.clone(), Value::Lost);
            }
        }
    }

    fn value(&mut self, node: &proto::Node) -> Value {
        let inputs: Vec<Option<&Value>> =
            (0..node.input.len()).map(|at| node.input(at).and_then(|name| self.values.get(name))).collect();
        let constant = |v: &Option<&'_ Value>| match v {
            Some(Value::Constant(_)) | None => true,
            Some(_) => false,
        };
        if let ("Shape", Some(Some(Value::Image(image)))) = (node.op_type.as_str(), inputs.first()) {
            let dims: Vec<i64> = image.axes.iter().map(|&a| image.dims[a] as i64).collect();
            let end = |name, default| {
                let at = node.int(name, default);
                (if at < 0 { at + dims.len() as i64 } else { at }).clamp(0, dims.len() as i64) as usize
            };
            let (from, to) = (end("start", 0), end("end", dims.len() as i64));
            return Value::Constant(Tensor::ints(dims.get(from..to).unwrap_or_default().to_vec()));
        }
        let missing = (0..node.input.len()).any(|at| node.input(at).is_some() && inputs[at].is_none());
        if inputs.iter().all(constant) && !missing {
            let tensors: Vec<Option<&Tensor>> = inputs
                .iter()
                .map(|v| match v {
                    Some(Value::Constant(tensor)) => Some(tensor),
                    _ => None,
                })
                .collect();
            return match evaluate(node, &tensors, self.reader) {
                Some(tensor) => Value::Constant(tensor),
                None => {
                    let supported =
                        "shapes, slices and sums of constants (simplify the model, for instance with onnxsim)";
                    self.offend(node, "found it on constants", supported);
                    Value::Lost
                }
            };
        }
        match operators::import(self, node) {
            Ok(image) => Value::Image(image),
            Err(Stop::Lost) => Value::Lost,
            Err(Stop::Offence(operator, found, supported)) => {
                let node = node.label().to_owned();
                self.offences.push(Offence { node, operator, found, supported });
                Value::Lost
            }
        }
    }

    fn offend(&mut self, node: &proto::Node, found: &str, supported: &str) {
        self.offences.push(Offence {
            node: node.label().to_owned(),
            operator: node.op_type.clone(),
            found: found.to_owned(),
            supported: supported.to_owned(),
        });
    }
}
