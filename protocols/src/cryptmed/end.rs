//! One party's end of a run: the channel to the other one, and the flights that were waited for.

use blindvox_net::channel::{Channel, Party};

use crate::error::{Error, Result};

/// One party's end. A flight is a one-way latency; messages of both parties that cross are one.
pub struct End {
    /// Who this is.
    pub party: Party,
    /// To the other one.
    pub channel: Channel,
    /// Flights so far.
    pub flights: usize,
    /// All words and bits that were opened, as they are known to both, for tests.
    #[cfg(test)]
    pub opened: Vec<u8>,
}

/// The longest message; longer ones go in parts.
const PART: usize = 1 << 22;

impl End {
    /// Over a connected channel.
    pub fn new(party: Party, channel: Channel) -> Self {
        Self {
            party,
            channel,
            flights: 0,
            #[cfg(test)]
            opened: Vec::new(),
        }
    }

    /// Whether this is the party that adds what is public: the client.
    pub fn first(&self) -> bool {
        self.party == Party::Client
    }

    /// Sends as many bytes as the peer does, and gives the peer's.
    ///
    /// # Errors
    /// The peer's and the channel's.
    pub fn exchange(&mut self, mine: Vec<u8>) -> Result<Vec<u8>> {
        self.flights += 1;
        let length = mine.len();
        send(&mut self.channel, mine)?;
        receive(&mut self.channel, length)
    }

    /// From one party to the other: the sender gives the bytes, the receiver gets so many.
    ///
    /// # Errors
    /// The peer's and the channel's.
    pub fn hand_over(&mut self, from: Party, length: usize, mine: impl FnOnce() -> Vec<u8>) -> Result<Option<Vec<u8>>> {
        self.flights += 1;
        if from == self.party {
            let message = mine();
            debug_assert_eq!(message.len(), length, "the message table's length");
            return send(&mut self.channel, message).map(|()| None);
        }
        receive(&mut self.channel, length).map(Some)
    }
}

/// Sends a message of any length, nothing for an empty one.
pub fn send(channel: &mut Channel, message: Vec<u8>) -> Result<()> {
    if message.len() <= PART {
        return if message.is_empty() { Ok(()) } else { Ok(channel.send(message)?) };
    }
    message.chunks(PART).try_for_each(|part| Ok(channel.send(part.to_vec())?))
}

/// Receives a message of this length; what is allocated grows with what has come.
pub fn receive(channel: &mut Channel, length: usize) -> Result<Vec<u8>> {
    let mut message = Vec::new();
    while message.len() < length {
        let part = channel.recv_exact(PART.min(length - message.len()))?;
        if part.len() == length {
            return Ok(part);
        }
        message.extend_from_slice(&part);
    }
    Ok(message)
}

/// Words as bytes, little-endian.
pub fn to_bytes(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|w| w.to_le_bytes()).collect()
}

/// Bytes as words.
///
/// # Errors
/// [`Error::Protocol`] where they are no whole words.
pub fn to_words(bytes: &[u8]) -> Result<Vec<u32>> {
    let (words, rest) = bytes.as_chunks::<4>();
    if !rest.is_empty() {
        return Err(Error::protocol(format!("a message of {} bytes where whole words were expected", bytes.len())));
    }
    Ok(words.iter().map(|w| u32::from_le_bytes(*w)).collect())
}
