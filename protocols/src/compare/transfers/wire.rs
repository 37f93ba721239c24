//! Messages of sections: values below 2^bits, packed, each section to whole bytes.

use blindvox_net::channel::{CHUNK, Channel};
use blindvox_net::transport::recycle;

use crate::error::Result;
use crate::ot::pack::{pack, packed_len, unpack};

/// A message that grows.
#[derive(Default)]
pub(super) struct Message(Vec<u8>);

impl Message {
    /// Adds a section.
    pub(super) fn add(&mut self, values: &[u32], bits: u32) {
        let section = pack(values, bits);
        if self.0.is_empty() {
            self.0 = section;
        } else {
            self.0.extend_from_slice(&section);
            recycle::give(section);
        }
    }

    /// Sends all sections, in as many messages as they need.
    pub(super) fn send(self, channel: &mut Channel) -> Result<()> {
        if self.0.len() <= CHUNK && !self.0.is_empty() {
            Ok(channel.send(self.0)?)
        } else {
            Ok(channel.send_pod(&self.0)?)
        }
    }
}

/// A received message, read section by section.
pub(super) struct Received {
    bytes: Vec<u8>,
    at: usize,
}

impl Received {
    /// Waits for sections of so many values of so many bits.
    pub(super) fn new(channel: &mut Channel, sections: impl Iterator<Item = (usize, u32)>) -> Result<Self> {
        let len = sections.map(|(count, bits)| packed_len(count, bits)).sum();
        let bytes = match len {
            0 => Vec::new(),
            1..=CHUNK => channel.recv_exact(len)?,
            _ => channel.recv_pod(len)?,
        };
        Ok(Self { bytes, at: 0 })
    }

    /// The next section.
    pub(super) fn next(&mut self, count: usize, bits: u32) -> Vec<u32> {
        let section = &self.bytes[self.at..][..packed_len(count, bits)];
        self.at += section.len();
        unpack(section, count, bits)
    }
}

impl Drop for Received {
    fn drop(&mut self) {
        recycle::give(std::mem::take(&mut self.bytes));
    }
}
