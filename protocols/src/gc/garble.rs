//! The garbler and the evaluator of a batch of equal circuits.
//!
//! | # | from -> to | content | bytes | phase |
//! |---|---|---|---|---|
//! | 1 | evaluator -> garbler | OT corrections of its input bits | 256·128/8/k an input bit and chunk of 256 instances | online |
//! | 2 | garbler -> evaluator | two rows an AND | 32·ANDs an instance | online |
//! | 3 | garbler -> evaluator | its output colours, if the evaluator is to learn them | 32 an output bit and chunk | online |
//!
//! Messages 1 and 2 are streams that run side by side: the evaluator evaluates a chunk while the garbler garbles the
//! next. The garbler's own input labels cost nothing: the *active* label is the next output of a public generator, and
//! the garbler, who knows the bit, takes the zero label to be that xor bit·Delta.
//!
//! Here a chunk is worked on gate by gate, its labels in the nearest cache and its tables on their way into the
//! message. `batched` works on many chunks at a time in the rooms of a device, and sends and takes the same bytes. Both
//! parties' `run` is the one entry to either. Processors have rooms as well, but take 2.3 to 3.1 times as long in them
//! (signs and ReLUs of 16 bits): the labels and tables of a batch of chunks are in no cache.

use blindvox_engine::Prng;
use blindvox_engine::garble::{AndInputs, Garbled, add_selected, colours, xor};
use blindvox_engine::stack::{DEEP, with_cleared_stack};
use blindvox_net::channel::{Channel, Party};
use zeroize::Zeroize;

use super::batched::Batched;
use super::choice::Garbling;
use super::planes::flip;
use super::public::Public;
use super::schedule::{Gate, Schedule};
use super::stream::{ActiveLabels, TableReader, TableWriter, ZeroLabels};
use super::{INSTANCES, Plane, Planes};
use crate::error::{Error, Result};
use crate::ot::{OtPair, OtReceiver, OtSender};

/// Labels of a chunk, by slot.
struct Wires(Vec<Vec<u128>>);

impl Wires {
    fn new(slots: usize) -> Self {
        Self(vec![vec![0; INSTANCES]; slots])
    }

    /// The output slot taken out, to be put back: a gate never reads the slot that it writes.
    fn write(&mut self, out: usize, gate: impl FnOnce(&[Vec<u128>], &mut [u128]) -> Result<()>) -> Result<()> {
        let mut labels = std::mem::take(&mut self.0[out]);
        let result = gate(&self.0, &mut labels);
        self.0[out] = labels;
        result
    }

    /// Colours of a wire's first `n` labels.
    fn colours(&self, slot: usize, n: usize) -> Plane {
        let labels = &self.0[slot][..n];
        [colours(&labels[..n.min(128)]), colours(&labels[n.min(128)..])]
    }
}

impl Drop for Wires {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

fn and_inputs(wires: &[Vec<u128>], of: [usize; 5], n: usize) -> AndInputs<'_> {
    let [a0, a1, b0, b1, sum] = of.map(|slot| &wires[slot][..n]);
    AndInputs { a: [a0, a1], b: [b0, b1], sum }
}

/// The party that garbles: the server.
pub struct Garbler {
    ot: OtSender,
    public: Public,
    prng: Prng,
    how: Garbling,
}

impl Garbler {
    /// Takes over the sender's end of transfers, whose Delta is that of the labels; the peer's [`Evaluator`] has the
    /// other end.
    pub fn new(ot: OtSender, prng: &mut Prng, how: Garbling) -> Self {
        let public = Public::new(how.hash, ot.session());
        Self { ot, public, prng: prng.fork("masks of garbled outputs"), how }
    }

    /// Garbles the schedule for as many instances as `inputs` has, whose planes are the garbler's input bits. Returns
    /// its shares of the outputs.
    ///
    /// # Panics
    /// If `inputs` has another number of bits than the schedule.
    pub fn run(&mut self, channel: &mut Channel, schedule: &Schedule, inputs: &Planes) -> Result<Planes> {
        assert_eq!(inputs.bits(), schedule.inputs[0], "the garbler's input bits");
        let Self { ot, public, how, .. } = self;
        if let Some(batched) = Batched::new(how, schedule) {
            return batched.garble(channel, ot, public, inputs);
        }
        let delta = ot.delta();
        let mut wires = Wires::new(schedule.slots);
        let mut tables = TableWriter::new(inputs.instances(), schedule.ands);
        let mut zero_labels = ZeroLabels::new(inputs.chunks() * schedule.evaluator.len());
        let mut outputs = Planes::zero(schedule.outputs.len(), inputs.instances());
        for chunk in 0..inputs.chunks() {
            let n = inputs.range(chunk).len();
            public.keys.next_gates(schedule.ands);
            let mut number = 0;
            for gate in &schedule.gates {
                match *gate {
                    Gate::Garbler { input, out } => wires.write(out, |_, out| {
                        public.labels(out);
                        add_selected(out, &inputs.chunk(chunk)[input], delta);
                        Ok(())
                    }),
                    Gate::Evaluator { out, .. } => wires.write(out, |_, out| {
                        out.copy_from_slice(zero_labels.unit(channel, ot)?);
                        Ok(())
                    }),
                    Gate::Xor { of: [a, b], out } => wires.write(out, |wires, out| {
                        xor(&wires[a], &wires[b], out);
                        Ok(())
                    }),
                    Gate::And { of, flips, out } => wires.write(out, |wires, out| {
                        let inputs = and_inputs(wires, of, n);
                        number += 1;
                        tables.unit(channel, 2 * n, |table| {
                            let out = Garbled { labels: &mut out[..n], table };
                            public.keys.garble_and(number - 1, delta, inputs, flips, out);
                        })
                    }),
                }?;
            }
            for (plane, &(slot, negated)) in outputs.chunk_mut(chunk).iter_mut().zip(&schedule.outputs) {
                *plane = flip(wires.colours(slot, n), negated, n);
            }
        }
        Ok(outputs)
    }

    /// Lets the evaluator learn outputs: sends this party's shares of them.
    pub fn reveal(&self, channel: &mut Channel, shares: &Planes) -> Result<()> {
        Ok(channel.send_pod(shares.all())?)
    }
}

/// The party that evaluates: the client.
pub struct Evaluator {
    ot: OtReceiver,
    public: Public,
    how: Garbling,
    /// Whether all that it learned was what honest garbling leads to.
    sound: bool,
}

impl Evaluator {
    /// Takes over the receiver's end of transfers; the peer's [`Garbler`] has the other end.
    pub fn new(ot: OtReceiver, how: Garbling) -> Self {
        let public = Public::new(how.hash, ot.session());
        Self { ot, public, how, sound: true }
    }

    /// Evaluates the schedule for as many instances as `inputs` has, whose planes are the evaluator's input bits.
    /// Returns its shares of the outputs.
    ///
    /// # Panics
    /// If `inputs` has another number of bits than the schedule.
    pub fn run(&mut self, channel: &mut Channel, schedule: &Schedule, inputs: &Planes) -> Result<Planes> {
        assert_eq!(inputs.bits(), schedule.inputs[1], "the evaluator's input bits");
        let Self { ot, public, how, .. } = self;
        let choices = Choices::new(schedule, inputs);
        let mut active_labels = ActiveLabels::new(&choices.0, channel, ot)?;
        if let Some(batched) = Batched::new(how, schedule) {
            return batched.evaluate(channel, ot, public, active_labels, inputs.instances());
        }
        let mut wires = Wires::new(schedule.slots);
        let mut tables = TableReader::new(inputs.instances(), schedule.ands);
        let mut outputs = Planes::zero(schedule.outputs.len(), inputs.instances());
        for chunk in 0..inputs.chunks() {
            let n = inputs.range(chunk).len();
            public.keys.next_gates(schedule.ands);
            let mut number = 0;
            for gate in &schedule.gates {
                match *gate {
                    Gate::Garbler { out, .. } => wires.write(out, |_, out| {
                        public.labels(out);
                        Ok(())
                    }),
                    Gate::Evaluator { out, .. } => wires.write(out, |_, out| {
                        out.copy_from_slice(active_labels.unit(channel, ot)?);
                        Ok(())
                    }),
                    Gate::Xor { of: [a, b], out } => wires.write(out, |wires, out| {
                        xor(&wires[a], &wires[b], out);
                        Ok(())
                    }),
                    Gate::And { of, out, .. } => wires.write(out, |wires, out| {
                        let (table, next) = tables.unit(channel, 2 * n)?;
                        public.keys.evaluate_and(number, and_inputs(wires, of, n), table, next, &mut out[..n]);
                        number += 1;
                        Ok(())
                    }),
                }?;
            }
            for (plane, &(slot, _)) in outputs.chunk_mut(chunk).iter_mut().zip(&schedule.outputs) {
                *plane = wires.colours(slot, n);
            }
        }
        Ok(outputs)
    }

    /// Learns outputs from both parties' shares.
    pub fn learn(&self, channel: &mut Channel, shares: Planes) -> Result<Planes> {
        let theirs: Vec<[u128; 2]> = channel.recv_pod(shares.all().len())?;
        let mut values = shares;
        values.xor(&theirs);
        Ok(values)
    }
}

/// The evaluator's input bits in the order in which a schedule loads them.
struct Choices(Vec<u128>);

impl Choices {
    fn new(schedule: &Schedule, inputs: &Planes) -> Self {
        let chunks = (0..inputs.chunks()).map(|c| inputs.chunk(c));
        Self(chunks.flat_map(|planes| schedule.evaluator.iter().flat_map(|&i| planes[i])).collect())
    }
}

impl Drop for Choices {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

/// One party's part.
pub enum Half {
    /// The server's.
    Garbler(Box<Garbler>),
    /// The client's.
    Evaluator(Box<Evaluator>),
}

impl Half {
    /// The party's half, agreed with the peer's: AES on the CPU.
    pub fn setup(party: Party, channel: &mut Channel, prng: &mut Prng) -> Result<Self> {
        Self::setup_with(party, channel, prng, Garbling::default())
    }

    /// The same with a choice of hash and place. The peer must hash alike, which is not checked here: labels would be
    /// worthless. A [session](crate::infer::Session) checks it first.
    pub fn setup_with(party: Party, channel: &mut Channel, prng: &mut Prng, how: Garbling) -> Result<Self> {
        Ok(match party {
            Party::Server => Self::garbler(OtSender::setup(channel, prng)?, prng, how),
            Party::Client => Self::evaluator(OtReceiver::setup(channel, prng)?, how),
        })
    }

    /// The same with base transfers out of those that the parties have.
    pub fn setup_from(
        ot: &mut OtPair,
        party: Party,
        channel: &mut Channel,
        prng: &mut Prng,
        how: Garbling,
    ) -> Result<Self> {
        Ok(match party {
            Party::Server => Self::garbler(OtSender::setup_from(&mut ot.recv, channel, prng)?, prng, how),
            Party::Client => Self::evaluator(OtReceiver::setup_from(&mut ot.send, channel, prng)?, how),
        })
    }

    fn garbler(ot: OtSender, prng: &mut Prng, how: Garbling) -> Self {
        Self::Garbler(Box::new(Garbler::new(ot, prng, how)))
    }

    fn evaluator(ot: OtReceiver, how: Garbling) -> Self {
        Self::Evaluator(Box::new(Evaluator::new(ot, how)))
    }

    /// Runs a schedule; see [`Garbler::run`] and [`Evaluator::run`].
    pub fn run(&mut self, channel: &mut Channel, schedule: &Schedule, inputs: &Planes) -> Result<Planes> {
        with_cleared_stack::<DEEP, _>(|| match self {
            Self::Garbler(g) => g.run(channel, schedule, inputs),
            Self::Evaluator(e) => e.run(channel, schedule, inputs),
        })
    }

    /// `count` fresh secret masks at the garbler, which it adds to outputs that the evaluator learns; `None` at the
    /// evaluator.
    pub fn draw_masks(&mut self, count: usize) -> Option<Vec<u32>> {
        match self {
            Self::Garbler(g) => Some(g.prng.fill(count)),
            Self::Evaluator(_) => None,
        }
    }

    /// Notes whether values that the evaluator learned are such as honest garbling leads to. Nothing follows from it
    /// here: they are secret, and a run that broke off because of them would tell the garbler about them.
    pub fn note(&mut self, sound: bool) {
        if let Self::Evaluator(e) = self {
            e.sound &= sound;
        }
    }

    /// The verdict on all that was noted, for when there is nothing more to send.
    ///
    /// # Errors
    /// [`Error::Protocol`] if any of it was not as it should be.
    pub fn verdict(&self) -> Result<()> {
        match self {
            Self::Evaluator(e) if !e.sound => Err(Error::protocol(
                "a garbled result is out of its range: the results are worthless, the peer or somebody between has tampered with them",
            )),
            _ => Ok(()),
        }
    }

    /// Forgets what was noted.
    #[cfg(test)]
    pub(crate) fn forget(&mut self) {
        if let Self::Evaluator(e) = self {
            e.sound = true;
        }
    }

    /// Outputs to the evaluator alone: `Some` there, `None` at the garbler.
    pub fn reveal_to_evaluator(&self, channel: &mut Channel, shares: Planes) -> Result<Option<Planes>> {
        match self {
            Self::Garbler(g) => g.reveal(channel, &shares).map(|()| None),
            Self::Evaluator(e) => e.learn(channel, shares).map(Some),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::super::arithmetic;
    use super::*;
    use crate::ot::LOCAL_WIDTH;
    use blindvox_net::channel::local_pair;

    /// Both parties, set up.
    pub(crate) fn pair() -> ((Half, Channel), (Half, Channel)) {
        let (mut client, mut server) = local_pair();
        let evaluator = std::thread::spawn(move || {
            let half = Half::setup(Party::Client, &mut client, &mut Prng::from_seed_for_tests([1; 32])).unwrap();
            (half, client)
        });
        let half = Half::setup(Party::Server, &mut server, &mut Prng::from_seed_for_tests([2; 32])).unwrap();
        (evaluator.join().unwrap(), (half, server))
    }

    #[test]
    fn garbled_circuits_compute_what_plain_ones_do() {
        let ((mut evaluator, mut client), (mut garbler, mut server)) = pair();
        let mut prng = Prng::from_seed_for_tests([3; 32]);
        for (circuit, n) in [
            (arithmetic::sign(16), 1000),
            (arithmetic::relu(9), 256),
            (arithmetic::max(5, 7), 300),
            (arithmetic::argmax(4, 10), 5),
            (arithmetic::sign(32), 0),
        ] {
            let schedule = Schedule::new(&circuit);
            let mut draw = |bits: usize| {
                let columns: Vec<Vec<u32>> = (0..bits).map(|_| prng.fill(n)).collect();
                Planes::from_columns(&columns.iter().map(Vec::as_slice).collect::<Vec<_>>(), 1)
            };
            let (g, e) = (draw(circuit.garbler_inputs()), draw(circuit.evaluator_inputs()));
            let before = client.stats().total;
            let values = std::thread::scope(|scope| {
                let server = scope.spawn(|| {
                    let shares = garbler.run(&mut server, &schedule, &g).unwrap();
                    garbler.reveal_to_evaluator(&mut server, shares).unwrap()
                });
                let shares = evaluator.run(&mut client, &schedule, &e).unwrap();
                let values = evaluator.reveal_to_evaluator(&mut client, shares).unwrap().unwrap();
                assert!(server.join().unwrap().is_none());
                values
            });
            let traffic = client.stats().total - before;
            let chunks = n.div_ceil(256);
            assert_eq!(traffic.sent as usize, chunks * circuit.evaluator_inputs() * 256 * 16 / LOCAL_WIDTH);
            assert_eq!(traffic.received as usize, 32 * n * circuit.ands() + 32 * chunks * circuit.outputs());
            let rows = |p: &Planes| (0..p.bits()).map(|b| p.to_bytes(b)).collect::<Vec<_>>();
            let (g, e, values) = (rows(&g), rows(&e), rows(&values));
            for i in 0..n {
                let instance = |rows: &[Vec<u8>]| rows.iter().map(|r| r[i] == 1).collect::<Vec<_>>();
                assert_eq!(instance(&values), circuit.plain(&instance(&g), &instance(&e)), "instance {i}");
            }
        }
    }

    #[test]
    fn short_missing_and_surplus_messages_are_errors() {
        let schedule = Schedule::new(&arithmetic::sign(4));
        let inputs = Planes::zero(4, 10);
        for len in [0, 32 * 30 - 1, 32 * 30 + 16] {
            let ((mut evaluator, mut client), (_, mut server)) = pair();
            server.send(vec![0; len]).unwrap();
            assert!(matches!(evaluator.run(&mut client, &schedule, &inputs), Err(Error::Protocol(_))));
            drop(server);
            assert!(matches!(evaluator.run(&mut client, &schedule, &inputs), Err(Error::Connection(_))));
        }
        let ((_, mut client), (mut garbler, mut server)) = pair();
        client.send(vec![0; 5]).unwrap();
        assert!(matches!(garbler.run(&mut server, &schedule, &inputs), Err(Error::Protocol(_))));
    }

    #[test]
    fn a_silent_peer_is_noticed() {
        let ((mut evaluator, mut client), (_garbler, _server)) = pair();
        client.set_timeout(std::time::Duration::from_millis(20));
        let schedule = Schedule::new(&arithmetic::sign(4));
        let result = evaluator.run(&mut client, &schedule, &Planes::zero(4, 10));
        assert!(matches!(result, Err(Error::Connection(_))));
    }
}
