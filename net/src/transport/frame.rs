//! Frames: length (24 bits), kind (8 bits) and number (32 bits) as a little-endian u64, then the bytes.
//!
//! | kind | | number | bytes |
//! |---|---|---|---|
//! | 0 | a message | counts the messages of its direction | the message |
//! | 1 | keep-alive, after a silence | 0 | none |
//! | 2 | the run is given up | 0 | none |
//! | 3 | a refusal, or an end before time | 0 | code u16, a line of text |

use std::io::{ErrorKind, Read};

use super::queue::{End, Message};
use super::{MAX_MESSAGE, recycle};
use crate::refusal::Refusal;

/// The most bytes of a refusal.
const MAX_REFUSAL: usize = 1024;
/// The length that fits the header.
const MAX_LENGTH: usize = (1 << 24) - 1;
const _: () = assert!(MAX_MESSAGE <= MAX_LENGTH);

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
#[cfg(feature = "sockets")]
pub(crate) enum Kind {
    Data,
    KeepAlive,
    Cancel,
    Refusal,
}

/// The header of a frame.
#[cfg(feature = "sockets")]
pub(crate) fn header(kind: Kind, number: u32, length: usize) -> [u8; 8] {
    assert!(length <= MAX_LENGTH, "a frame of {length} bytes");
    (u64::from(number) << 32 | u64::from(kind as u8) << 24 | length as u64).to_le_bytes()
}

/// What was read.
#[derive(Debug)]
pub enum Frame {
    /// A message.
    Message(Message),
    /// The peer is there, and computes.
    KeepAlive,
    /// The peer ends the run before its time.
    End(End),
}

/// Reads one frame. The length is checked before anything is allocated.
///
/// # Errors
/// In words: the stream ended or broke, more bytes were announced than such a frame may have, or its kind is unknown.
pub fn read_frame(stream: &mut impl Read) -> Result<Frame, String> {
    let mut header = [0u8; 8];
    stream.read_exact(&mut header).map_err(|e| describe(&e))?;
    let header = u64::from_le_bytes(header);
    let (length, kind, number) = (header as usize & MAX_LENGTH, (header >> 24) as u8, (header >> 32) as u32);
    let (most, what) = match kind {
        0 => (MAX_MESSAGE, "message"),
        1 | 2 => (0, "frame without content"),
        3 => (MAX_REFUSAL, "refusal"),
        kind => return Err(format!("the peer sent a frame of kind {kind}, which this version does not know")),
    };
    if length > most {
        return Err(format!("the peer announced a {what} of {length} bytes, at most {most} are allowed"));
    }
    let mut bytes = recycle::with_capacity(length);
    bytes.resize(length, 0);
    stream.read_exact(&mut bytes).map_err(|e| describe(&e))?;
    Ok(match kind {
        0 => Frame::Message(Message { number, flight: 0, bytes }),
        1 => Frame::KeepAlive,
        2 => Frame::End(End::Cancelled),
        _ => Frame::End(End::Refused(Refusal::from_bytes(&bytes))),
    })
}

fn describe(e: &std::io::Error) -> String {
    match e.kind() {
        ErrorKind::UnexpectedEof => "the peer closed the connection".to_owned(),
        ErrorKind::WouldBlock | ErrorKind::TimedOut => {
            "timed out: nothing came from the peer, no sign of life".to_owned()
        }
        _ => e.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::refusal::Code;

    proptest! {
        #[test]
        fn any_bytes_decode_or_fail_without_a_large_allocation(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let mut stream = &bytes[..];
            while let Ok(frame) = read_frame(&mut stream) {
                if let Frame::Message(message) = frame {
                    prop_assert!(message.bytes.len() <= bytes.len());
                }
            }
        }
    }

    fn frame(kind: Kind, bytes: &[u8]) -> Vec<u8> {
        [&header(kind, 7, bytes.len())[..], bytes].concat()
    }

    #[test]
    fn frames_read_back() {
        let refusal = Refusal::new(Code::Busy, "busy");
        let all = [
            frame(Kind::Data, b"abc"),
            frame(Kind::KeepAlive, b""),
            frame(Kind::Cancel, b""),
            frame(Kind::Refusal, &refusal.to_bytes()),
        ];
        let bytes = all.concat();
        let mut stream = &bytes[..];
        let expected = Message { number: 7, flight: 0, bytes: b"abc".to_vec() };
        assert!(matches!(read_frame(&mut stream), Ok(Frame::Message(m)) if m == expected));
        assert!(matches!(read_frame(&mut stream), Ok(Frame::KeepAlive)));
        assert!(matches!(read_frame(&mut stream), Ok(Frame::End(End::Cancelled))));
        assert!(matches!(read_frame(&mut stream), Ok(Frame::End(End::Refused(r))) if r == refusal));
        assert!(read_frame(&mut stream).unwrap_err().contains("closed"));
    }

    #[test]
    fn announcements_beyond_a_kinds_bound_and_unknown_kinds_are_refused() {
        for (length, kind) in [(MAX_MESSAGE + 1, 0), (1, 1), (1, 2), (MAX_REFUSAL + 1, 3)] {
            let bytes = (length as u64 | kind << 24).to_le_bytes();
            assert!(read_frame(&mut &bytes[..]).unwrap_err().contains("at most"));
        }
        assert!(read_frame(&mut &u64::MAX.to_le_bytes()[..]).unwrap_err().contains("kind 255"));
    }
}
