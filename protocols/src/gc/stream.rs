//! Garbled tables and input labels as streams of messages: bounded, and of lengths that both parties know.
//!
//! The unit of the table stream is one gate of one chunk of instances: 32 bytes an instance. Every message but the last
//! has [`UNITS`] units, half a mebibyte in all, so that it is still in cache when it is handed over. The unit of the
//! label stream is one input bit of one chunk: 256 transfers; they are begun [`AHEAD`] messages before they are used.

use std::collections::VecDeque;

use blindvox_engine::garble::Row;
use blindvox_net::channel::Channel;
use blindvox_net::transport::recycle;
use zeroize::Zeroizing;

use super::INSTANCES;
use crate::error::Result;
use crate::ot::{OtReceiver, OtSender};

/// Gates of a chunk in a message.
pub(super) const UNITS: usize = 64;
/// Words of 128 transfers in a message: 32768 labels.
pub(super) const LABEL_WORDS: usize = 256;
/// Label messages that the evaluator is ahead: enough for a garbler that works on many chunks at a time.
pub(super) const AHEAD: usize = 16;
/// Units of labels that the evaluator has begun, at least, beyond those it has used.
pub(super) const WINDOW: usize = AHEAD * LABEL_WORDS * 128 / INSTANCES;

/// Sizes of units and messages of a whole run.
#[derive(Clone, Copy)]
struct Layout {
    instances: usize,
    gates: usize,
    next: usize,
}

impl Layout {
    fn new(instances: usize, gates: usize) -> Self {
        Self { instances, gates, next: 0 }
    }

    fn units(&self) -> usize {
        self.instances.div_ceil(INSTANCES) * self.gates
    }

    /// Rows of units 0 to `unit`.
    fn rows_before(&self, unit: usize) -> usize {
        // Only the last chunk may have fewer instances.
        let full = self.instances / INSTANCES * self.gates;
        2 * (unit.min(full) * INSTANCES + unit.saturating_sub(full) * (self.instances % INSTANCES))
    }

    /// Rows of the message that starts at the next unit.
    fn message_rows(&self) -> usize {
        let end = (self.next + UNITS).min(self.units());
        self.rows_before(end) - self.rows_before(self.next)
    }
}

/// The garbler's end of the table stream.
pub(super) struct TableWriter {
    layout: Layout,
    message: Vec<u8>,
    /// Rows that the message lacks.
    left: usize,
    /// A unit on its way into the message: written over and over, so in the nearest cache.
    unit: Box<[Row; 2 * INSTANCES]>,
}

impl TableWriter {
    pub(super) fn new(instances: usize, gates: usize) -> Self {
        let unit = Box::new([Row::default(); 2 * INSTANCES]);
        Self { layout: Layout::new(instances, gates), message: vec![], left: 0, unit }
    }

    /// Room for the next unit's `rows`; `fill` writes all of it. Sends a full message.
    pub(super) fn unit(&mut self, channel: &mut Channel, rows: usize, fill: impl FnOnce(&mut [Row])) -> Result<()> {
        if self.message.is_empty() {
            self.message = recycle::with_capacity(16 * self.layout.message_rows());
            self.left = self.layout.message_rows();
        }
        let unit = &mut self.unit[..rows];
        fill(unit);
        self.message.extend_from_slice(unit.as_flattened());
        self.layout.next += 1;
        self.left -= rows;
        if self.left == 0 { Ok(channel.send(std::mem::take(&mut self.message))?) } else { Ok(()) }
    }
}

/// The evaluator's end of the table stream.
pub(super) struct TableReader {
    layout: Layout,
    message: Vec<u8>,
    at: usize,
}

impl TableReader {
    pub(super) fn new(instances: usize, gates: usize) -> Self {
        Self { layout: Layout::new(instances, gates), message: vec![], at: 0 }
    }

    /// The next unit's rows, and those of the message that come after them.
    pub(super) fn unit(&mut self, channel: &mut Channel, rows: usize) -> Result<(&[Row], &[Row])> {
        if self.at == self.message.len() {
            recycle::give(std::mem::take(&mut self.message));
            self.message = channel.recv_exact(16 * self.layout.message_rows())?;
            self.at = 0;
        }
        let start = self.at;
        self.at += 16 * rows;
        self.layout.next += 1;
        Ok(self.message[start..].as_chunks().0.split_at(rows))
    }
}

/// The garbler's zero labels of the evaluator's inputs.
pub(super) struct ZeroLabels {
    words_left: usize,
    labels: Zeroizing<Vec<u128>>,
    at: usize,
}

impl ZeroLabels {
    /// For this many units.
    pub(super) fn new(units: usize) -> Self {
        Self { words_left: 2 * units, labels: Zeroizing::default(), at: 0 }
    }

    /// The next unit.
    pub(super) fn unit(&mut self, channel: &mut Channel, ot: &mut OtSender) -> Result<&[u128]> {
        if self.at == self.labels.len() {
            let words = self.words_left.min(LABEL_WORDS);
            self.words_left -= words;
            self.labels.resize(128 * words, 0);
            ot.extend(channel, &mut self.labels)?;
            self.at = 0;
        }
        self.at += INSTANCES;
        Ok(&self.labels[self.at - INSTANCES..self.at])
    }
}

/// The evaluator's labels of its inputs.
pub(super) struct ActiveLabels<'a> {
    choices: std::slice::Chunks<'a, u128>,
    ready: VecDeque<Zeroizing<Vec<u128>>>,
    labels: Zeroizing<Vec<u128>>,
    at: usize,
}

impl<'a> ActiveLabels<'a> {
    /// For units of choices, two words each; begins the first transfers.
    pub(super) fn new(choices: &'a [u128], channel: &mut Channel, ot: &mut OtReceiver) -> Result<Self> {
        let (choices, ready, labels) = (choices.chunks(LABEL_WORDS), VecDeque::new(), Zeroizing::default());
        let mut new = Self { choices, ready, labels, at: 0 };
        for _ in 0..AHEAD {
            new.begin(channel, ot, Zeroizing::default())?;
        }
        Ok(new)
    }

    /// Begins the next message's transfers, in a vector that has served before.
    fn begin(&mut self, channel: &mut Channel, ot: &mut OtReceiver, mut labels: Zeroizing<Vec<u128>>) -> Result<()> {
        if let Some(words) = self.choices.next() {
            labels.resize(128 * words.len(), 0);
            ot.extend(channel, words, &mut labels)?;
            self.ready.push_back(labels);
        }
        Ok(())
    }

    /// The next unit.
    pub(super) fn unit(&mut self, channel: &mut Channel, ot: &mut OtReceiver) -> Result<&[u128]> {
        if self.at == self.labels.len() {
            let next = self.ready.pop_front().expect("labels for every unit");
            let used = std::mem::replace(&mut self.labels, next);
            self.at = 0;
            self.begin(channel, ot, used)?;
        }
        self.at += INSTANCES;
        Ok(&self.labels[self.at - INSTANCES..self.at])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_add_up_to_the_tables_and_are_bounded() {
        for instances in [1, 255, 256, 257, 1000, 5000] {
            for gates in [1, 15, 64, 65, 700] {
                let mut layout = Layout::new(instances, gates);
                let mut rows = 0;
                while layout.next < layout.units() {
                    assert!(layout.message_rows() * 16 <= UNITS * 32 * INSTANCES);
                    rows += layout.message_rows();
                    layout.next += UNITS;
                }
                assert_eq!(rows, 2 * instances * gates);
            }
        }
    }
}
