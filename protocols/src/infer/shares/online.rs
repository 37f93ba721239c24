//! The steps of a program on shares, both parties' halves.
//!
//! Between steps a tensor is shared mod 2^32, mod [`P`], or both: its producer provides what its readers need. A linear
//! step gives exact sums mod 2^32; truncation drops `shift` bits and shrinks the ring to 2^(32 - shift), and one
//! conversion for each needed ring brings the shares back. Only the last step, whose comparison needs low bits alone,
//! reads the truncated shares as they are.
//!
//! | step | protocol | traffic |
//! |---|---|---|
//! | conv, conv_transpose | [`crate::linear`], truncate, [`crate::convert`] | ciphertexts both ways, one COT an element and ring |
//! | square | [`crate::nonlinear::square`] | one opening each way, one COT; a ciphertext each way unless pairs were made ahead |
//! | relu, max_pool | [`crate::nonlinear::relu`], [`crate::nonlinear::max_pool`] | tables, labels, two COTs |
//! | avg_pool, flatten, interleave, resize | local | none |
//! | argmax | [`crate::nonlinear::argmax`] | tables, labels; the client alone learns the labels |
//! | blend | `windows`: the steps before it a window, sums local, an argmax | as theirs |

use std::sync::Arc;
use std::time::{Duration, Instant};

use blindvox_engine::stack::leaving_nothing;
use blindvox_models::{Linear, Program, Step, TensorId};
use blindvox_net::channel::{Channel, Party, Traffic};

use super::needs::{Needs, needs};
use super::preprocess::Ready;
use super::sample::Samples;
use super::session::Session;
use super::trace::Trace;
use super::{hiding, public};
use crate::convert::convert;
use crate::error::{Error, Result};
use crate::infer::report::StepCost;
use crate::nonlinear::{avg_pool, grids, square, windows};
use crate::share::{P, Ring, Shares};
use crate::truncate::truncate;

/// Told of progress.
pub trait Observer {
    /// A step begins.
    fn begin(&mut self, name: &str, kind: &str) {
        let _ = (name, kind);
    }
    /// It is done.
    fn end(&mut self, cost: &StepCost) {
        let _ = cost;
    }
}

/// Watches nothing.
impl Observer for () {}

/// What a party has at the end.
pub struct Outcome {
    /// The client's labels, `[D, H, W]` of [`Program::grid`]; none for the server.
    pub labels: Option<Vec<u8>>,
    /// What setup and preprocessing cost.
    pub preparation: Vec<StepCost>,
    /// What each step cost, in all windows.
    pub steps: Vec<StepCost>,
    /// All shares, where tracing was asked for.
    pub trace: Option<Trace>,
    /// Shares around sampled positions, where they were asked for.
    pub samples: Option<Samples>,
    /// Receives that found nothing there: what a link's latency costs each time.
    pub waits: u64,
    /// Latencies of the longest path of messages to its labels, between ends in one process.
    pub flights: u32,
    /// Digest of everything this party sent, where the channel recorded it.
    pub transcript: Option<[u8; 32]>,
    /// -log2 of the statistical distance at which the replies of this run hide the weights ([`hiding`]).
    pub hiding_bits: f64,
    /// The device the kernels ran on.
    pub device: String,
}

/// One tensor's shares in the rings that its readers need; zeroized when dropped.
#[derive(Default)]
struct Shared {
    /// Mod 2^32, or, before an argmax or a ReLU by transfers, truncated: right in the low bits.
    full: Shares,
    /// Bits of the ring of `full`.
    bits: u32,
    /// Mod P.
    prime: Shares,
}

impl Shared {
    /// Shares and their ring: mod P where there are such.
    fn shares(&self) -> (&[u32], Ring) {
        if self.prime.is_empty() { (&self.full, Ring::Pow2(self.bits)) } else { (&self.prime, Ring::Prime(P)) }
    }

    /// The shares that a step reads.
    fn read_by(&self, step: &Step) -> (&[u32], Ring) {
        match step {
            Step::Square { .. } => (&self.prime, Ring::Prime(P)),
            _ => (&self.full, Ring::Pow2(self.bits)),
        }
    }
}

pub(super) struct Online<'a> {
    session: Session,
    pub(super) program: Arc<Program>,
    preparation: Vec<StepCost>,
    needs: Vec<Needs>,
    last_uses: Vec<usize>,
    tensors: Vec<Shared>,
    next_plan: usize,
    costs: Vec<StepCost>,
    trace: Option<Trace>,
    samples: Option<Samples>,
    observer: &'a mut dyn Observer,
}

impl Ready {
    /// The client's run on its prepared, quantised volume, `[channels, D, H, W]` of [`Program::grid`], the last over its
    /// channel.
    pub fn run_client(self, input: &[i32], observer: &mut dyn Observer) -> Result<Outcome> {
        last(self.client(input, observer, Channel::finish)?)
    }

    /// The same where more runs follow.
    pub fn run_client_on(self, input: &[i32], observer: &mut dyn Observer) -> Result<(Outcome, Session)> {
        self.client(input, observer, Channel::pause)
    }

    fn client(self, input: &[i32], observer: &mut dyn Observer, end: End) -> Result<(Outcome, Session)> {
        let online = Online::new(self, Party::Client, observer)?;
        let elements = input_elements(&online.program);
        if input.len() != elements {
            return Err(Error::Input(format!("the volume has {} values, the network takes {elements}", input.len())));
        }
        online.run(input.iter().map(|&x| x as u32).collect(), end)
    }

    /// The server's run, the last over its channel.
    pub fn run_server(self, observer: &mut dyn Observer) -> Result<Outcome> {
        last(self.server(observer, Channel::finish)?)
    }

    /// The same where more runs follow.
    pub fn run_server_on(self, observer: &mut dyn Observer) -> Result<(Outcome, Session)> {
        self.server(observer, Channel::pause)
    }

    fn server(self, observer: &mut dyn Observer, end: End) -> Result<(Outcome, Session)> {
        let online = Online::new(self, Party::Server, observer)?;
        // The client knows its input: the server's share of it is zero.
        let input = Shares::zeros(input_elements(&online.program));
        online.run(input, end)
    }
}

/// Of all channels, windows or not.
fn input_elements(program: &Program) -> usize {
    program.channels() * program.grid().iter().product::<usize>()
}

/// How both parties say that they have all they need.
type End = fn(&mut Channel) -> blindvox_net::Result<()>;

fn last((outcome, session): (Outcome, Session)) -> Result<Outcome> {
    drop(session);
    Ok(outcome)
}

impl<'a> Online<'a> {
    fn new(ready: Ready, party: Party, observer: &'a mut dyn Observer) -> Result<Self> {
        let Ready { session, preparation } = ready;
        if session.peer.party != party {
            return Err(Error::Input(format!("this session is the {:?}'s", session.peer.party)));
        }
        let program = session.program.clone();
        let needs = needs(&program, session.protocols.nonlinear.reads_low_bits());
        let tensors = needs.iter().map(|_| Shared::default()).collect();
        let trace = session.options.trace.then(|| Trace::new(&program));
        let sampled = session.options.samples > 0 && program.windows().is_none();
        let samples = sampled.then(|| Samples::new(&program, session.options.samples));
        let none = |step: &Step| StepCost {
            name: step.name().to_owned(),
            kind: step.kind(),
            time: Duration::ZERO,
            traffic: Traffic::default(),
        };
        Ok(Self {
            last_uses: program.last_uses(),
            costs: program.steps.iter().map(none).collect(),
            next_plan: 0,
            session,
            program,
            preparation,
            needs,
            tensors,
            trace,
            samples,
            observer,
        })
    }

    fn run(self, input: Shares, end: End) -> Result<(Outcome, Session)> {
        leaving_nothing(|| self.steps(input, end))
    }

    fn steps(mut self, input: Shares, end: End) -> Result<(Outcome, Session)> {
        let program = self.program.clone();
        let labels = match program.steps.last() {
            Some(Step::Blend { windows, bits, .. }) => self.in_windows(windows, &input, *bits)?,
            _ => {
                self.pass(input)?;
                self.execute(program.steps.len() - 1, None)?
            }
        };
        // Who returns has delivered all that its peer needs, and has all it needs itself.
        end(&mut self.session.peer.channel)?;
        // After it: what the peer sees does not depend on the values that were evaluated.
        self.session.peer.verdict()?;
        let outcome = Outcome {
            labels,
            preparation: self.preparation,
            steps: self.costs,
            trace: self.trace,
            samples: self.samples,
            waits: self.session.peer.channel.stats().waits,
            flights: self.session.peer.channel.stats().flights,
            transcript: self.session.peer.channel.transcript_digest(),
            hiding_bits: -hiding::distance_bits(&program, &self.session.plans)?,
            device: self.session.options.device.describe(),
        };
        Ok((outcome, self.session))
    }

    /// All steps but the last, once.
    pub(super) fn pass(&mut self, input: Shares) -> Result<()> {
        self.next_plan = 0;
        let mut input = Some(input);
        for at in 0..self.program.steps.len() - 1 {
            self.execute(at, input.take())?;
        }
        if let Some(trace) = &mut self.trace
            && self.program.windows().is_some()
        {
            trace.keep_window();
        }
        Ok(())
    }

    /// A step, and what is measured and kept of it; the first with the input, of which what its readers need belongs to
    /// it.
    fn execute(&mut self, at: usize, input: Option<Shares>) -> Result<Option<Vec<u8>>> {
        self.timed(at, |online| {
            let program = online.program.clone();
            let step = &program.steps[at];
            if let Some(input) = input {
                online.provide(program.input, input, 32)?;
            }
            online.sample_inputs(at, step);
            let labels = online.step(at, step)?;
            online.sample_output(at, step);
            for &tensor in step.inputs() {
                if online.last_uses[tensor] == at {
                    online.tensors[tensor] = Shared::default();
                }
            }
            Ok(labels)
        })
    }

    /// Counts what `run` takes as step `at`'s.
    pub(super) fn timed<T>(&mut self, at: usize, run: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        let program = self.program.clone();
        let (name, kind) = (program.steps[at].name(), program.steps[at].kind());
        self.observer.begin(name, kind);
        self.session.peer.channel.set_phase(name);
        let (start, before) = (Instant::now(), self.session.peer.channel.stats().total);
        let result = run(self)?;
        let traffic = self.session.peer.channel.stats().total - before;
        let cost = StepCost { name: name.to_owned(), kind, time: start.elapsed(), traffic };
        self.observer.end(&cost);
        self.costs[at].add(&cost);
        Ok(result)
    }

    /// The scores of a pass, mod 2^32; their memory is free for the next one.
    pub(super) fn take_scores(&mut self) -> Shares {
        std::mem::take(&mut self.tensors[self.program.logits]).full
    }

    /// The labels of scores, if this is the client.
    pub(super) fn argmax(&mut self, scores: &[u32], ring: Ring) -> Result<Option<Vec<u8>>> {
        let Session { peer, protocols, .. } = &mut self.session;
        protocols.nonlinear.argmax(peer, scores, self.program.classes, ring)
    }

    /// Runs one step; the labels, if it is the client's argmax.
    fn step(&mut self, at: usize, step: &Step) -> Result<Option<Vec<u8>>> {
        match step {
            Step::Linear(linear) => self.linear(at, linear)?,
            Step::Square { input, output, shift, .. } => {
                // Only a square reads shares mod P, and no tensor is squared twice.
                let x = std::mem::take(&mut self.tensors[*input].prime);
                let y = square::square_from(&mut self.session.peer, x, *shift)?;
                self.provide(*output, y, 32)?;
            }
            Step::Relu { input, output, bits, .. } => {
                let Session { peer, protocols, .. } = &mut self.session;
                let y = protocols.nonlinear.relu(peer, &self.tensors[*input].full, Ring::Pow2(*bits))?;
                self.provide(*output, y, 32)?;
            }
            Step::MaxPool { input, output, window, bits, .. } => {
                let info = &self.program.tensors[*input];
                let shape = [info.channels, info.dims[0], info.dims[1], info.dims[2]];
                let Session { peer, protocols, .. } = &mut self.session;
                let x = Shares::from(windows::gather(&self.tensors[*input].full, shape, *window)?);
                let size = window.iter().product();
                let y = protocols.nonlinear.max_pool(peer, &x, size, Ring::Pow2(*bits))?;
                self.provide(*output, y, 32)?;
            }
            Step::AvgPool { input, output, window, .. } => {
                let info = &self.program.tensors[*input];
                let shape = [info.channels, info.dims[0], info.dims[1], info.dims[2]];
                let y = avg_pool::avg_pool(&self.tensors[*input].full, shape, *window)?;
                self.provide(*output, y.into(), 32)?;
            }
            Step::Flatten { input, output, .. } => {
                let x = self.tensors[*input].full.clone();
                self.provide(*output, x, 32)?;
            }
            Step::Interleave { input, output, factor, .. } => {
                let (dims, grid) = (self.program.tensors[*input].dims, self.program.tensors[*output].dims);
                let y = grids::interleave(&self.tensors[*input].full, dims, *factor, grid)?;
                self.provide(*output, y, 32)?;
            }
            Step::Resize { input, output, factor, mode, .. } => {
                let dims = self.program.tensors[*input].dims;
                let y = grids::finer(&self.tensors[*input].full, dims, *factor, *mode)?;
                self.provide(*output, y, 32)?;
            }
            Step::Activation { .. } | Step::MinPool { .. } => return Err(public::needs_dealer(step)),
            Step::Argmax { input, bits, .. } => {
                let scores = std::mem::take(&mut self.tensors[*input]);
                return self.argmax(&scores.full, Ring::Pow2(*bits));
            }
            Step::Blend { .. } => unreachable!("made of passes"),
        }
        Ok(None)
    }

    fn linear(&mut self, at: usize, linear: &Linear) -> Result<()> {
        let joined: Shares;
        let x = match linear.inputs[..] {
            [tensor] => &self.tensors[tensor].full,
            _ => {
                let parts: Vec<&[u32]> = linear.inputs.iter().map(|&t| &*self.tensors[t].full).collect();
                joined = parts.concat().into();
                &joined
            }
        };
        let Session { peer, protocols, plans, .. } = &mut self.session;
        let plan = &plans[self.next_plan];
        self.next_plan += 1;
        let mut y = protocols.linear.sums(peer, plan, linear, x)?;
        let party = peer.party;
        if let Some(trace) = &mut self.trace {
            trace.accumulators[at] = y.to_vec();
        }
        if let Some(samples) = &mut self.samples {
            samples.summed(&self.program, at, &y);
        }
        truncate(party, &mut y, 32, linear.shift)?;
        self.provide(linear.output, y, 32 - linear.shift)
    }

    /// Stores a tensor's shares mod 2^`bits` in the rings that its readers need.
    fn provide(&mut self, tensor: TensorId, mut shares: Shares, bits: u32) -> Result<()> {
        let peer = &mut self.session.peer;
        let needs = self.needs[tensor];
        let mut shared = Shared { bits: if needs.full { 32 } else { bits }, ..Shared::default() };
        if needs.prime {
            let again = if needs.full || needs.low { shares.clone() } else { Shares::default() };
            let shares = std::mem::replace(&mut shares, again);
            shared.prime = convert(peer, shares, bits, Ring::Prime(P))?;
        }
        if needs.full && bits < 32 {
            shared.full = convert(peer, shares, bits, Ring::FULL)?;
        } else if needs.full || needs.low {
            shared.full = shares;
        }
        if let Some(trace) = &mut self.trace {
            let (shares, ring) = shared.shares();
            trace.tensors[tensor] = (shares.to_vec(), ring);
        }
        self.tensors[tensor] = shared;
        Ok(())
    }

    fn sample_inputs(&mut self, at: usize, step: &Step) {
        let Some(samples) = &mut self.samples else { return };
        let inputs: Vec<_> = step.inputs().iter().map(|&t| self.tensors[t].read_by(step)).collect();
        let shares: Vec<&[u32]> = inputs.iter().map(|(shares, _)| *shares).collect();
        samples.read(&self.program, at, &shares, inputs[0].1);
    }

    fn sample_output(&mut self, at: usize, step: &Step) {
        let (Some(samples), Some(output)) = (&mut self.samples, step.output()) else { return };
        let (shares, ring) = self.tensors[output].shares();
        samples.wrote(&self.program, at, shares, ring);
    }
}
