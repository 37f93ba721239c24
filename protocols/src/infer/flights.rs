//! How many one-way latencies a run takes over a link: the longest path through its messages, by their order alone.
//!
//! Each party has a clock in latencies. A message leaves at its sender's, and moves its receiver's on to one more where
//! that is later; computing takes no time here, nor do bytes. Steps are walked through as their message tables say, with
//! what runs ahead of answers; the clocks of ends in one process
//! ([`Stats::flights`](blindvox_net::channel::Stats::flights)) hold that to real runs.

use blindvox_models::{Program, Step, TensorId};
use blindvox_net::channel::Party;

use super::demand;
use super::presets::{Comparison, PairSupply, Source, Ways};
use super::shares::needs::{Needs, needs};
use super::shares::preprocess::squares;
use crate::compare::transfers;
use crate::convert;
use crate::correlations::he;
use crate::gc;
use crate::nonlinear::{argmax, max_pool, relu};
use crate::ot::messages;
use crate::ot::silent::Set;
use crate::share::Ring;
use crate::traffic::batches;

/// Latencies from the first message to the client's labels.
pub fn flights(program: &Program, ways: &Ways) -> usize {
    let silent = ways.ot == Source::Silent;
    let sets = if silent { demand::sets(program, ways) } else { [None; 2] };
    let clocks = Clocks { client: 0, server: 0, stock: [0; 2], sets };
    let needs = needs(program, ways.compare == Comparison::Transfers);
    let digit = transfers::digit_for(sets.iter().any(Option::is_some));
    let mut walk = Walk { program, ways, needs, digit, clocks, pairs: 0 };
    walk.setup();
    let (last, steps) = program.steps.split_last().expect("a program has a last step");
    for _ in 0..program.passes() {
        walk.provided(program.input, 32);
        steps.iter().for_each(|step| walk.step(step));
    }
    walk.step(last);
    walk.clocks.client
}

/// When each party is, in latencies, and what it has of silent transfers.
struct Clocks {
    client: usize,
    server: usize,
    /// Of the server's sending, and of the client's.
    stock: [usize; 2],
    sets: [Option<&'static Set>; 2],
}

impl Clocks {
    fn of(&mut self, party: Party) -> &mut usize {
        match party {
            Party::Client => &mut self.client,
            Party::Server => &mut self.server,
        }
    }

    /// A message, or several one after the other.
    fn message(&mut self, from: Party) {
        let sent = *self.of(from);
        let to = self.of(from.peer());
        *to = (*to).max(sent + 1);
    }

    fn up(&mut self) {
        self.message(Party::Client);
    }

    fn down(&mut self) {
        self.message(Party::Server);
    }

    /// A message each way, sent before either is waited for.
    fn cross(&mut self) {
        let (client, server) = (self.client, self.server);
        (self.client, self.server) = (client.max(server + 1), server.max(client + 1));
    }

    /// So many questions and their answers; question i leaves once answer i - `ahead` is there.
    fn asked(&mut self, from: Party, [count, ahead]: [usize; 2]) {
        let mut answered = vec![*self.of(from); ahead];
        for at in 0..count {
            let sent = answered[at];
            let to = self.of(from.peer());
            *to = (*to).max(sent + 1);
            self.message(from.peer());
            answered.push(*self.of(from));
        }
    }

    /// Correlated transfers, of which `chooser` chooses.
    fn cot(&mut self, chooser: Party, n: usize) {
        let direction = usize::from(chooser == Party::Server);
        if let Some(set) = self.sets[direction] {
            let wanted = n.next_multiple_of(128);
            while self.stock[direction] < wanted {
                self.iteration(chooser.peer());
                self.stock[direction] += set.usable();
            }
            self.stock[direction] -= wanted;
        }
        self.asked(chooser, [messages(n), 2]);
    }

    /// Silent transfers: trees, the question of the check, the proof.
    fn iteration(&mut self, sender: Party) {
        [sender, sender.peer(), sender].into_iter().for_each(|from| self.message(from));
    }

    /// Random transfers made ready, of the server's sending and of the client's.
    fn reserve(&mut self, counts: [usize; 2]) {
        let softspoken = [0, 1].map(|at| self.sets[at].is_none() && counts[at] > 0);
        match softspoken {
            [true, true] => self.cross(),
            [true, false] => self.up(),
            [false, true] => self.down(),
            [false, false] => {}
        }
        loop {
            let lacks = [0, 1].map(|at| self.sets[at].filter(|_| self.stock[at] < counts[at]));
            match lacks {
                [Some(_), Some(_)] => (0..3).for_each(|_| self.cross()),
                [Some(_), None] => self.iteration(Party::Server),
                [None, Some(_)] => self.iteration(Party::Client),
                [None, None] => break,
            }
            (0..2).for_each(|at| self.stock[at] += lacks[at].map_or(0, Set::usable));
        }
        (0..2).for_each(|at| self.stock[at] = self.stock[at].saturating_sub(counts[at]));
    }

    /// A garbled circuit of so many instances with so many bits of the evaluator's.
    fn garbled(&mut self, n: usize, bits: u32) {
        self.asked(Party::Client, gc::traffic::label_messages(n, bits as usize));
    }
}

struct Walk<'a> {
    program: &'a Program,
    ways: &'a Ways,
    needs: Vec<Needs>,
    /// Bits of a digit where transfers compare.
    digit: u32,
    clocks: Clocks,
    /// Square pairs in stock.
    pairs: usize,
}

impl Walk<'_> {
    fn setup(&mut self) {
        let Clocks { sets, .. } = self.clocks;
        // Hellos, the architecture, the client's key; base transfers, and a second direction out of the first.
        self.clocks.cross();
        self.clocks.down();
        (0..3).for_each(|_| {
            self.clocks.up();
            self.clocks.down();
        });
        match sets.map(|set| set.is_some()) {
            [true, true] => self.clocks.cross(),
            [true, false] => self.clocks.up(),
            [false, true] => self.clocks.down(),
            [false, false] => {}
        }
        if self.ways.garbles() {
            self.clocks.up();
            self.clocks.down();
            self.clocks.up();
        }
        let count = squares(self.program);
        if count > 0 {
            self.clocks.up();
            if self.ways.pairs() == PairSupply::Ahead {
                self.supply(count);
            }
        }
    }

    /// Square pairs, where there aren't as many in stock.
    fn supply(&mut self, count: usize) {
        let made = he::missing_pairs(count, self.pairs);
        self.clocks.asked(Party::Client, [he::messages(made), 2]);
        self.pairs += made;
    }

    fn elements(&self, tensor: TensorId) -> usize {
        self.program.tensors[tensor].elements()
    }

    fn provided(&mut self, tensor: TensorId, bits: u32) {
        let wanted = usize::from(self.needs[tensor].prime) + usize::from(self.needs[tensor].full && bits < 32);
        for _ in 0..wanted {
            batches(self.elements(tensor), convert::CHUNK).for_each(|n| self.clocks.cot(Party::Server, n));
        }
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Linear(linear) => {
                self.clocks.up();
                self.clocks.down();
                self.provided(linear.output, 32 - linear.shift);
            }
            Step::Square { input, output, .. } => {
                for n in batches(self.elements(*input), convert::CHUNK) {
                    self.supply(n);
                    self.pairs -= n;
                    self.clocks.cross();
                    self.clocks.cot(Party::Server, n);
                }
                self.provided(*output, 32);
            }
            Step::Relu { input, output, bits, .. } => {
                self.relu(self.elements(*input), *bits);
                self.provided(*output, 32);
            }
            Step::MaxPool { output, window, bits, .. } => {
                let size = window.iter().product();
                for n in batches(self.elements(*output), max_pool::windows_at_a_time(size)) {
                    match self.ways.compare {
                        Comparison::FullCircuit => self.clocks.garbled(n, *bits * size as u32),
                        _ => self.tournament([n, size], *bits, true),
                    }
                }
                self.provided(*output, 32);
            }
            Step::AvgPool { output, .. }
            | Step::Flatten { output, .. }
            | Step::Interleave { output, .. }
            | Step::Resize { output, .. }
            | Step::Activation { output, .. }
            | Step::MinPool { output, .. } => self.provided(*output, 32),
            Step::Argmax { bits, .. } => self.argmax(self.program.labelled(), *bits),
            Step::Blend { bits, windows, .. } => {
                (0..windows.starts[0].len()).for_each(|at| self.argmax(windows.voxels(windows.done(at).len()), *bits));
            }
        }
    }

    fn relu(&mut self, n: usize, bits: u32) {
        match self.ways.compare {
            Comparison::FullCircuit => self.clocks.garbled(n, bits),
            Comparison::SignSelect => batches(n, relu::BATCH).for_each(|n| {
                self.signs(n, bits);
                self.select(n);
            }),
            Comparison::Transfers => batches(n, transfers::BATCH).for_each(|n| {
                let widened = usize::from(bits < 32);
                let [server, client] = transfers::of_signs(Ring::Pow2(bits), self.digit);
                self.clocks.reserve([(server + 1) * n, (client + 1 + widened) * n]);
                self.compared(bits);
                self.clocks.cross();
                if widened == 1 {
                    self.clocks.down();
                    self.clocks.up();
                }
            }),
        }
    }

    /// Tables of digits and the tree over them.
    fn compared(&mut self, bits: u32) {
        self.clocks.up();
        self.clocks.down();
        (0..transfers::depth(Ring::Pow2(bits), self.digit)).for_each(|_| self.clocks.cross());
    }

    fn signs(&mut self, n: usize, bits: u32) {
        if self.ways.compare != Comparison::Transfers {
            return self.clocks.garbled(n, bits);
        }
        for n in batches(n, transfers::BATCH) {
            self.clocks.reserve(transfers::of_signs(Ring::Pow2(bits), self.digit).map(|each| each * n));
            self.compared(bits);
        }
    }

    fn select(&mut self, n: usize) {
        if self.ways.compare == Comparison::Transfers {
            return self.joined(n);
        }
        self.clocks.cot(Party::Client, n);
        self.clocks.cot(Party::Server, n);
    }

    /// ANDs with words, or a selection, by transfers.
    fn joined(&mut self, n: usize) {
        for n in batches(n, transfers::BATCH) {
            self.clocks.reserve([n; 2]);
            self.clocks.cross();
        }
    }

    /// Matches of so many columns of so many values, and their winners, of the last match too where `wanted`.
    fn tournament(&mut self, [n, columns]: [usize; 2], bits: u32, wanted: bool) {
        let indices = self.ways.compare == Comparison::Transfers && !wanted;
        let mut columns = columns;
        while columns > 1 {
            let matches = columns / 2 * n;
            self.signs(matches, bits + 1);
            if indices {
                self.joined(matches);
            }
            if wanted || columns > 2 {
                self.select(matches);
            }
            columns = columns.div_ceil(2);
        }
    }

    fn argmax(&mut self, voxels: usize, bits: u32) {
        let classes = self.program.classes;
        if classes == 1 {
            return;
        }
        for n in batches(voxels, argmax::voxels_at_a_time(classes)) {
            if self.ways.compare == Comparison::FullCircuit {
                self.clocks.garbled(n, bits * classes as u32);
            } else {
                self.tournament([n, classes], bits, false);
                if self.ways.compare == Comparison::SignSelect {
                    self.clocks.garbled(n, classes as u32 - 1);
                }
            }
            self.clocks.down();
        }
    }
}
