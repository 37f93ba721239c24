//! The ends of a run with a dealer: client and server, and all three in one process.
//!
//! | # | from -> to | content | phase |
//! |---|---|---|---|
//! | 1 | S -> C | [`super::hello`]: version, what is revealed, the architecture | setup |
//! | 2 | | [`super::source`] | setup |
//! | 3 | S -> C | W - A of each layer | model |
//! | 4 | C -> S | number of the run, number of rows; no rows: the end | preprocessing |
//! | 5 | | [`super::source`] | dealer |
//! | 6 | C -> S | y_C + r_C of each layer whose sums are opened | preprocessing |
//! | 7 | | [`super::layer`], [`super::opening`], [`super::wraps`], [`super::decide`], in the program's order | online |

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use blindvox_models::{Program, Step};
pub use blindvox_net::channel::Party;
use blindvox_net::channel::{Canceller, Channel};
use zeroize::Zeroizing;

use super::decide;
use super::end::{End, receive, send, to_bytes, to_words};
use super::hello;
use super::items::{Item, Material};
use super::layer::{add, sub};
use super::masks::Masks;
use super::opening::{compare, masked, open, open_down};
pub use super::outcome::{Answer, Cost, Outcome};
use super::plan::{Decision, MAX_ROWS, Plan, Stage, Terms, Then, rectifier};
use super::pool;
use super::ready::{Ready, apart, finish, missing, sums, take_masks, take_wraps};
use super::source::{ClientSeed, ServerSeed, Source};
use super::streams::Words;
use super::wraps;
use crate::error::{Error, Result};
use crate::infer::shares::public;

/// One party's end of a session.
pub struct Session {
    end: End,
    source: Box<dyn Source>,
    program: Arc<Program>,
    terms: Terms,
    /// The client's W - A, the server's W.
    weights: Vec<Words>,
    plan: Plan,
    run: u64,
    /// What setting up cost.
    pub setup: Cost,
    /// What hiding the model cost.
    pub model: Cost,
    /// This party's share of each tensor that a stage wrote, where a test asked for them.
    #[cfg(any(test, feature = "testing"))]
    kept: Option<Vec<(blindvox_models::TensorId, Words)>>,
}

/// The client hears what the dealer refused.
pub(crate) fn pass_on(client: &Canceller, e: &Error) {
    if let Error::Refused(refusal) = e {
        client.refuse(refusal.clone());
    }
}

impl Session {
    /// The server's end.
    ///
    /// # Errors
    /// What the program makes impossible; the client's, the dealer's and the channels'.
    pub fn serve(program: &Arc<Program>, terms: Terms, channel: Channel, dealer: Channel) -> Result<Self> {
        let meet = |hello: &[u8]| -> Result<Box<dyn Source>> { Ok(Box::new(ServerSeed::meet(dealer, hello)?)) };
        Self::serve_from(program, terms, channel, meet)
    }

    pub(crate) fn serve_from(
        program: &Arc<Program>,
        terms: Terms,
        mut channel: Channel,
        meet: impl FnOnce(&[u8]) -> Result<Box<dyn Source>>,
    ) -> Result<Self> {
        let start = Instant::now();
        public::check(program)?;
        let plan = Plan::new(program, 1, terms)?;
        channel.set_phase("setup");
        let hello = hello::encode(program, terms)?;
        channel.send(hello.clone())?;
        let source = meet(&hello).inspect_err(|e| pass_on(&channel.canceller(), e))?;
        let mut session = Self::start(Party::Server, channel, source, terms, plan, start);
        session.in_phase("model", |session| {
            let layers: Vec<_> = session.plan.maps().map(|(map, linear)| (map.weights(), linear.clone())).collect();
            for (layer, (count, linear)) in layers.into_iter().enumerate() {
                let w = Zeroizing::new(linear.weights.iter().map(|&w| w as u32).collect::<Vec<_>>());
                send(&mut session.end.channel, to_bytes(&sub(&w, &session.source.matrix(layer, count))))?;
                session.weights.push(w);
            }
            Ok(())
        })?;
        Ok(session)
    }

    /// The client's end.
    ///
    /// # Errors
    /// What the program makes impossible; the server's, the dealer's and the channels'.
    pub fn connect(channel: Channel, dealer: Channel) -> Result<Self> {
        let meet = |hello: &[u8]| -> Result<Box<dyn Source>> { Ok(Box::new(ClientSeed::meet(dealer, hello)?)) };
        Self::connect_from(channel, meet)
    }

    pub(crate) fn connect_from(
        mut channel: Channel,
        meet: impl FnOnce(&[u8]) -> Result<Box<dyn Source>>,
    ) -> Result<Self> {
        let start = Instant::now();
        channel.set_phase("setup");
        let hello = channel.recv()?;
        let (program, terms) = hello::decode(&hello)?;
        let plan = Plan::new(&program, 1, terms)?;
        let source = meet(&hello)?;
        let mut session = Self::start(Party::Client, channel, source, terms, plan, start);
        session.in_phase("model", |session| {
            let counts: Vec<usize> = session.plan.maps().map(|(map, _)| map.weights()).collect();
            for count in counts {
                let bytes = receive(&mut session.end.channel, 4 * count)?;
                session.weights.push(Zeroizing::new(to_words(&bytes)?));
            }
            Ok(())
        })?;
        Ok(session)
    }

    fn start(
        party: Party,
        channel: Channel,
        source: Box<dyn Source>,
        terms: Terms,
        plan: Plan,
        start: Instant,
    ) -> Self {
        let program = plan.program.clone();
        let setup = Cost { time: start.elapsed(), traffic: channel.stats().total, dealt: source.bytes(), flights: 1 };
        let (end, weights) = (End::new(party, channel), Vec::new());
        Self {
            end,
            source,
            program,
            terms,
            weights,
            plan,
            run: 0,
            setup,
            model: Cost::default(),
            #[cfg(any(test, feature = "testing"))]
            kept: None,
        }
    }

    fn in_phase(&mut self, name: &str, f: impl FnOnce(&mut Self) -> Result<()>) -> Result<()> {
        let (cost, ()) = self.measured(name, f)?;
        self.model = cost;
        Ok(())
    }

    fn measured<T>(&mut self, name: &str, f: impl FnOnce(&mut Self) -> Result<T>) -> Result<(Cost, T)> {
        let (start, before, dealt) = (Instant::now(), self.end.channel.stats().total, self.source.bytes());
        let flights = self.end.flights;
        self.end.channel.set_phase(name);
        let result = f(self)?;
        let cost = Cost {
            time: start.elapsed(),
            traffic: self.end.channel.stats().total - before,
            dealt: self.source.bytes() - dealt,
            flights: self.end.flights - flights,
        };
        Ok((cost, result))
    }

    /// The program, at the client's end without weights.
    pub fn program(&self) -> &Program {
        &self.program
    }

    /// Keeps this party's shares from now on, for tests: both parties' together are the values.
    #[cfg(any(test, feature = "testing"))]
    pub fn keep_shares(&mut self) -> &mut Vec<(blindvox_models::TensorId, Words)> {
        self.kept.get_or_insert_default()
    }

    /// The digest of what this party sent, where the channel recorded it.
    pub fn transcript(&self) -> Option<[u8; 32]> {
        self.end.channel.transcript_digest()
    }

    /// Bytes that came from the dealer so far.
    pub fn dealt(&self) -> u64 {
        self.source.bytes()
    }

    /// What the client learns, and how.
    pub fn terms(&self) -> Terms {
        self.terms
    }

    /// The client's run of rows, quantised for the program's input.
    ///
    /// # Errors
    /// [`Error::Input`] for no rows, too many, or of another size; the server's and the channel's.
    pub fn run(&mut self, rows: &[Vec<i32>]) -> Result<Outcome> {
        let elements = self.program.tensors[self.program.input].elements();
        if rows.is_empty() || rows.len() > MAX_ROWS {
            return Err(Error::Input(format!("found {} rows, expected 1 to {MAX_ROWS} at once", rows.len())));
        }
        if let Some(row) = rows.iter().find(|r| r.len() != elements) {
            return Err(Error::Input(format!("found a row of {} values, expected {elements}", row.len())));
        }
        let x = (0..elements).flat_map(|e| rows.iter().map(move |row| row[e] as u32)).collect();
        self.run += 1;
        let request = [self.run.to_le_bytes(), (rows.len() as u64).to_le_bytes()].concat();
        let (preprocessing, ready) = self.measured("preprocessing", |session| {
            session.end.channel.send(request)?;
            session.preprocess(rows.len())
        })?;
        let (online, answer) = self.measured("online", |session| session.online(ready, Zeroizing::new(x)))?;
        Ok(Outcome { answer, rows: rows.len(), preprocessing, online })
    }

    /// The server's next run; none where the client has come to its end.
    ///
    /// # Errors
    /// [`Error::Protocol`] for a run that is not possible; the client's and the channel's.
    pub fn answer(&mut self) -> Result<Option<Outcome>> {
        self.answer_within(MAX_ROWS)
    }

    /// The same for so many rows at most.
    ///
    /// # Errors
    /// Those of [`Self::answer`].
    pub fn answer_within(&mut self, most: usize) -> Result<Option<Outcome>> {
        let request = to_words(&self.end.channel.recv_exact(16)?)?;
        let rows = match request[..] {
            [_, _, 0, 0] => {
                self.end.channel.finish()?;
                return Ok(None);
            }
            [run, 0, rows, 0] if u64::from(run) > self.run && rows as usize <= most.min(MAX_ROWS) => {
                self.run = run.into();
                rows as usize
            }
            _ => {
                let run = self.run;
                return Err(Error::protocol(format!(
                    "a request for a run after run {run} that is none of at most {most} rows"
                )));
            }
        };
        let (preprocessing, ready) = self.measured("preprocessing", |session| session.preprocess(rows))?;
        let elements = self.program.tensors[self.program.input].elements() * rows;
        let zeros = Zeroizing::new(vec![0; elements]);
        let (online, answer) = self.measured("online", |session| session.online(ready, zeros))?;
        Ok(Some(Outcome { answer, rows, preprocessing, online }))
    }

    /// The client's last message.
    ///
    /// # Errors
    /// The channel's.
    pub fn finish(mut self) -> Result<()> {
        self.end.channel.send(vec![0; 16])?;
        Ok(self.end.channel.finish()?)
    }

    fn preprocess(&mut self, rows: usize) -> Result<Ready> {
        if self.plan.rows != rows {
            self.plan = Plan::new(&self.program, rows, self.terms)?;
        }
        self.source.begin(self.run, rows)?;
        let mut materials = VecDeque::new();
        for (at, item) in self.plan.items().iter().enumerate() {
            materials.push_back(self.source.item(at, item, &self.plan)?);
        }
        let mut ready = Ready { materials, sums: VecDeque::new(), halves: VecDeque::new() };
        self.ahead(&mut ready)?;
        Ok(ready)
    }

    /// What does not depend on the input: the client's sums, and its halves of what they are opened to.
    fn ahead(&mut self, ready: &mut Ready) -> Result<()> {
        let items = self.plan.items();
        let layers = items.iter().enumerate().filter_map(|(at, item)| match item {
            Item::Layer(layer) => Some((at, *layer)),
            _ => None,
        });
        for (at, layer) in layers {
            let (map, _) = self.plan.maps().nth(layer).expect("an item of the plan");
            let opened = match items.get(at + 1) {
                Some(Item::Masks(_, n)) if self.opens(layer) => *n,
                _ => 0,
            };
            if !self.end.first() {
                ready.halves.push_back(to_words(&receive(&mut self.end.channel, 4 * opened)?)?);
                continue;
            }
            let Some(Material::Layer(u, a2)) = ready.materials.get(at) else { return Err(missing("a layer's mask")) };
            let y = add(&map.apply(&self.weights[layer], u), a2);
            if opened > 0 {
                let Some(Material::Masks(masks)) = ready.materials.get(at + 1) else { return Err(missing("masks")) };
                let half = match self.decision(layer) {
                    Some(classes) => masked(&decide::differences(&y, classes), masks, 0),
                    None => masked(&y, masks, 0),
                };
                send(&mut self.end.channel, to_bytes(&half))?;
            }
            ready.sums.push_back(y);
        }
        Ok(())
    }

    /// Whether a layer's sums are opened.
    fn opens(&self, layer: usize) -> bool {
        self.plan.stages.iter().any(|stage| match stage {
            Stage::Layer { layer: at, then, .. } if *at == layer => {
                matches!(**then, Then::Function(..) | Then::Decide(_))
            }
            _ => false,
        })
    }

    /// The number of classes whose scores a layer gives, where pairs of them are compared.
    fn decision(&self, layer: usize) -> Option<usize> {
        self.plan.stages.iter().find_map(|stage| match stage {
            Stage::Layer { layer: at, then, .. } if *at == layer => match &**then {
                Then::Decide(Decision::Labels(classes, _)) => Some(*classes),
                _ => None,
            },
            _ => None,
        })
    }

    fn online(&mut self, mut ready: Ready, input: Words) -> Result<Option<Answer>> {
        let mut tensors: Vec<Words> = self.program.tensors.iter().map(|_| Words::default()).collect();
        tensors[self.program.input] = input;
        let last = self.program.last_uses();
        let stages = std::mem::take(&mut self.plan.stages);
        let mut answer = None;
        let mut result = Ok(());
        for stage in &stages {
            match self.stage(stage, &mut ready, &mut tensors) {
                Ok(found) => answer = answer.or(found),
                Err(e) => {
                    result = Err(e);
                    break;
                }
            }
            #[cfg(any(test, feature = "testing"))]
            if let (Some(kept), Some(tensor)) = (&mut self.kept, stage.output()) {
                kept.push((tensor, tensors[tensor].clone()));
            }
            if let Stage::Layer { step, .. } = stage {
                let done = |t: &usize| last[*t] <= *step;
                self.program.steps[*step]
                    .inputs()
                    .iter()
                    .filter(|t| done(t))
                    .for_each(|&t| tensors[t] = Words::default());
            }
        }
        self.plan.stages = stages;
        result.map(|()| answer)
    }

    fn stage(&mut self, stage: &Stage, ready: &mut Ready, tensors: &mut [Words]) -> Result<Option<Answer>> {
        let rows = self.plan.rows;
        match stage {
            Stage::Layer { layer, step, map, then } => {
                let Step::Linear(linear) = &self.program.steps[*step] else { return Err(missing("a layer")) };
                let joined: Words;
                let x = match linear.inputs[..] {
                    [tensor] => &tensors[tensor],
                    _ => {
                        let parts: Vec<&[u32]> = linear.inputs.iter().map(|&t| &tensors[t][..]).collect();
                        joined = Zeroizing::new(parts.concat());
                        &joined
                    }
                };
                let Some(Material::Layer(mask, _)) = ready.materials.pop_front() else {
                    return Err(missing("a layer's mask"));
                };
                let half = if self.end.first() { Vec::new() } else { ready.halves.pop_front().unwrap_or_default() };
                let y = sums(&mut self.end, map, &self.weights[*layer], [x, &mask], ready.sums.pop_front(), |y| {
                    map.add_bias(linear, y);
                })?;
                match &**then {
                    Then::Function(function, output) => {
                        let masks = take_masks(ready)?;
                        let c = open_down(&mut self.end, &y, &masks, function.activation.offset(), &half)?;
                        tensors[*output] = finish(&mut self.end, function, &masks, &c, ready)?;
                    }
                    Then::Published(shift, published, _, output) => {
                        let x = match shift {
                            0 => y,
                            _ => wraps::truncate(&mut self.end, &take_wraps(ready)?, &y, *shift)?,
                        };
                        tensors[*output] = published.evaluate(&mut self.end, &x, &mut ready.materials)?;
                    }
                    Then::Truncate(0, _, output) => tensors[*output] = y,
                    Then::Truncate(shift, _, output) => {
                        tensors[*output] = wraps::truncate(&mut self.end, &take_wraps(ready)?, &y, *shift)?;
                    }
                    Then::Decide(decision) => return self.decide(decision, &y, Some(&half), ready),
                }
            }
            Stage::Function { input, output, function } => {
                let masks = take_masks(ready)?;
                let c = open(&mut self.end, &tensors[*input], &masks, function.activation.offset())?;
                tensors[*output] = finish(&mut self.end, function, &masks, &c, ready)?;
            }
            Stage::Pool { input, output, window, kept } => {
                let dims = self.program.tensors[*input].dims;
                let mut players = pool::gather(&tensors[*input], dims, *window, rows);
                while players.len() > 1 {
                    let masks = take_masks(ready)?;
                    let activation = rectifier();
                    let c = open(&mut self.end, &pool::matches(&players), &masks, 0)?;
                    let [rectified, _] = activation.evaluate(&mut self.end, &masks, &c)?;
                    players = pool::winners(players, &rectified, *kept);
                }
                tensors[*output] = players.pop().unwrap_or_default();
            }
            Stage::Sum { input, output, window } => {
                let dims = self.program.tensors[*input].dims;
                let parts = pool::gather(&tensors[*input], dims, *window, rows);
                let zeros = Zeroizing::new(vec![0; parts[0].len()]);
                tensors[*output] = parts.iter().fold(zeros, |sum, part| add(&sum, part));
            }
            Stage::Flatten { input, output } => tensors[*output] = tensors[*input].clone(),
            Stage::Decide(input, decision) => {
                let y = tensors[*input].clone();
                return self.decide(decision, &y, None, ready);
            }
        }
        Ok(None)
    }

    /// The last stage; `half` is what the server has of the client's opening, where that came ahead.
    fn decide(
        &mut self,
        decision: &Decision,
        y: &[u32],
        half: Option<&[u32]>,
        ready: &mut Ready,
    ) -> Result<Option<Answer>> {
        let (end, rows) = (&mut self.end, self.plan.rows);
        let opened = |end: &mut End, y: &[u32], masks: &Masks, offset: u32| match half {
            Some(half) => open_down(end, y, masks, offset, half),
            None => open(end, y, masks, offset),
        };
        match decision {
            Decision::Labels(1, n) => Ok(end.first().then(|| Answer::Labels(apart(&vec![0; *n], rows)))),
            Decision::Labels(classes, n) => {
                let masks = take_masks(ready)?;
                let c = opened(end, &decide::differences(y, *classes), &masks, 0)?;
                let sign = super::masks::MaskSpec::sign();
                let negative = compare(end, &sign, &masks, &c, &[0])?;
                let masks = if *classes > 2 { Some(take_masks(ready)?) } else { None };
                let largest = decide::largest(end, masks.as_ref(), &negative, *classes, *n)?;
                let labels = decide::tell(end, &largest, *classes, *n)?;
                Ok(labels.map(|labels| Answer::Labels(apart(&labels, rows))))
            }
            Decision::Scores(function) => {
                let scores = match function {
                    Some(function) => {
                        let masks = take_masks(ready)?;
                        let c = opened(end, y, &masks, function.activation.offset())?;
                        finish(end, function, &masks, &c, ready)?
                    }
                    None => Zeroizing::new(y.to_vec()),
                };
                Ok(decide::reveal(end, &scores)?.map(|scores| Answer::Scores(apart(&scores, rows))))
            }
        }
    }
}
