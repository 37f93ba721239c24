//! Every step checked against what it should compute from its own inputs, with both parties' shares at hand.
//!
//! A bound carried from the input to the scores would mean nothing after a few squarings, so each step is held to its
//! own: sums exact, truncations and squares within one unit, comparisons and pools exact. Traces hold secrets and exist
//! for tests and benches alone.

use blindvox_models::{Program, Step, TensorId, plain};

use crate::error::{Error, Result};
use crate::share::Ring;

/// One party's shares along a run.
#[derive(Clone)]
pub struct Trace {
    /// Of each tensor, with their ring.
    pub tensors: Vec<(Vec<u32>, Ring)>,
    /// Of each linear step's sums before truncation, mod 2^32; empty for other steps.
    pub accumulators: Vec<Vec<u32>>,
}

impl Trace {
    pub(super) fn new(program: &Program) -> Self {
        Self {
            tensors: vec![(Vec::new(), Ring::FULL); program.tensors.len()],
            accumulators: vec![Vec::new(); program.steps.len()],
        }
    }
}

/// How far a step was from its ideal.
#[derive(Clone, Debug)]
pub struct StepCheck {
    /// The layer.
    pub name: String,
    /// Its kind.
    pub kind: &'static str,
    /// Values checked.
    pub elements: usize,
    /// Linear steps: sums that were not exact.
    pub wrong_sums: usize,
    /// Largest distance of an output from the exact quotient, in units of the output.
    pub worst: f64,
}

impl StepCheck {
    /// Whether the step kept to its bound: sums exact, less than or one unit of rounding.
    pub fn holds(&self) -> bool {
        let rounding = matches!(self.kind, "conv" | "conv_transpose" | "square");
        self.wrong_sums == 0 && self.worst <= if rounding { 1.0 } else { 0.0 }
    }
}

/// Checks every step but the argmax; labels are compared with [`labels`].
pub fn check(program: &Program, client: &Trace, server: &Trace) -> Result<Vec<StepCheck>> {
    let mut checks = Vec::new();
    for (at, step) in program.steps.iter().enumerate() {
        let Some(output) = step.output() else { continue };
        let got = open(client, server, output)?;
        let inputs = step.inputs().iter().map(|&t| open(client, server, t)).collect::<Result<Vec<_>>>()?;
        let inputs: Vec<Vec<i32>> = inputs.iter().map(|x| x.iter().map(|&v| v as i32).collect()).collect();
        let inputs: Vec<&[i32]> = inputs.iter().map(Vec::as_slice).collect();
        let (exact, shift) = plain::before_shift(program, step, &inputs);
        if exact.len() != got.len() {
            let (found, expected) = (got.len(), exact.len());
            return Err(Error::protocol(format!("{}: {found} values where {expected} were expected", step.name())));
        }
        let wrong_sums = match step {
            Step::Linear(_) => {
                let sums = Ring::FULL.open(&client.accumulators[at], &server.accumulators[at]);
                sums.iter().zip(&exact).filter(|(a, b)| a != b).count() + sums.len().abs_diff(exact.len())
            }
            _ => 0,
        };
        let unit = f64::from(1u32 << shift);
        let worst = exact.iter().zip(&got).map(|(&e, &g)| (g as f64 - e as f64 / unit).abs()).fold(0.0, f64::max);
        checks.push(StepCheck {
            name: step.name().to_owned(),
            kind: step.kind(),
            elements: got.len(),
            wrong_sums,
            worst,
        });
    }
    Ok(checks)
}

/// The labels that the opened scores call for.
pub fn labels(program: &Program, client: &Trace, server: &Trace) -> Result<Vec<u8>> {
    let logits = open(client, server, program.logits)?;
    let voxels = program.tensors[program.logits].voxels();
    let best = |v: usize| {
        (1..program.classes)
            .fold(0, |best, c| if logits[c * voxels + v] > logits[best * voxels + v] { c } else { best })
    };
    Ok((0..voxels).map(|v| best(v) as u8).collect())
}

fn open(client: &Trace, server: &Trace, tensor: TensorId) -> Result<Vec<i64>> {
    let ((c, ring), (s, other)) = (&client.tensors[tensor], &server.tensors[tensor]);
    if ring != other || c.len() != s.len() {
        return Err(Error::protocol(format!(
            "tensor {tensor}: shares of {} in {ring} and {} in {other}",
            c.len(),
            s.len()
        )));
    }
    Ok(ring.open(c, s))
}
