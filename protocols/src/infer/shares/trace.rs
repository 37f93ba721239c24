//! Every step checked against what it should compute from its own inputs, with both parties' shares at hand.
//!
//! A bound carried from the input to the scores would mean nothing after a few squarings, so each step is held to its
//! own: sums exact, truncations and squares within one unit, comparisons and pools exact. Traces hold secrets and exist
//! for tests and benches alone.

use blindvox_models::{Program, Step, TensorId, plain, windows};

use crate::error::{Error, Result};
use crate::nonlinear::argmax;
use crate::share::Ring;

/// One party's shares along a run.
#[derive(Clone)]
pub struct Trace {
    /// Of each tensor, with their ring.
    pub tensors: Vec<(Vec<u32>, Ring)>,
    /// Of each linear step's sums before truncation, mod 2^32; empty for other steps.
    pub accumulators: Vec<Vec<u32>>,
    /// The same of each window, in their order, where the run was in windows.
    pub windows: Vec<Trace>,
}

impl Trace {
    pub(super) fn new(program: &Program) -> Self {
        Self {
            tensors: vec![(Vec::new(), Ring::FULL); program.tensors.len()],
            accumulators: vec![Vec::new(); program.steps.len()],
            windows: Vec::new(),
        }
    }

    /// A window is done.
    pub(super) fn keep_window(&mut self) {
        let Self { tensors, accumulators, windows } = self;
        windows.push(Self { tensors: tensors.clone(), accumulators: accumulators.clone(), windows: Vec::new() });
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

/// Checks every step but the last, in each window where there are such; labels are compared with [`labels`].
pub fn check(program: &Program, client: &Trace, server: &Trace) -> Result<Vec<StepCheck>> {
    let Some(windows) = program.windows() else { return check_pass(program, client, server) };
    let passes: Vec<_> = client.windows.iter().zip(&server.windows).collect();
    if passes.len() != windows.count() {
        return Err(Error::protocol(format!("{} windows were traced, not {}", passes.len(), windows.count())));
    }
    let checks = passes.into_iter().map(|(client, server)| check_pass(program, client, server));
    Ok(checks.collect::<Result<Vec<_>>>()?.concat())
}

fn check_pass(program: &Program, client: &Trace, server: &Trace) -> Result<Vec<StepCheck>> {
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
    let Some(windows) = program.windows() else {
        return Ok(argmax::ideal(&open(client, server, program.logits)?, program.classes));
    };
    let passes = client.windows.iter().zip(&server.windows);
    let scores = passes.map(|(client, server)| open(client, server, program.logits)).collect::<Result<Vec<_>>>()?;
    let (mut scores, mut labels) = (scores.into_iter(), Vec::new());
    let places = vec![(); windows.voxels(windows.grid[0])];
    let add = |sum: &mut i64, weight: u32, score: i64| *sum += i64::from(weight) * score;
    let each = |_: Vec<()>| scores.next().unwrap_or_default();
    let done = |sums: Vec<i64>| labels.extend(argmax::ideal(&sums, program.classes));
    windows::run(windows, &places, (program.classes, 0), add, each, done);
    Ok(labels)
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
