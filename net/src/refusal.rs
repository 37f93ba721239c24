//! Why a service doesn't do what it is asked for, or ends it early: a code for programs and a line for people. Public facts
//! alone, as the peer reads them.

/// The longest line, in bytes.
const MAX_TEXT: usize = 512;

/// The kinds of refusals; their numbers go over the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Code {
    /// The client is not in the service's list.
    UnknownClient,
    /// All places are taken, and the queue is full.
    Busy,
    /// The run needs more memory than the service gives.
    TooLarge,
    /// The client has had its runs of the day, or has too many at once.
    Quota,
    /// There is no such model, or not for this client.
    NoSuchModel,
    /// The two speak no common version.
    Versions,
    /// The service is about to end.
    Draining,
    /// What the client chose is not offered.
    Choices,
    /// What was asked for makes no sense.
    Request,
    /// The service failed.
    Failure,
    /// One that this version doesn't know.
    Other(u16),
}

/// In the order of their numbers, from 1.
const CODES: [(Code, &str); 10] = [
    (Code::UnknownClient, "unknown_client"),
    (Code::Busy, "busy"),
    (Code::TooLarge, "too_large"),
    (Code::Quota, "quota"),
    (Code::NoSuchModel, "no_such_model"),
    (Code::Versions, "versions"),
    (Code::Draining, "draining"),
    (Code::Choices, "choices"),
    (Code::Request, "request"),
    (Code::Failure, "failure"),
];

impl Code {
    #[cfg(feature = "sockets")]
    fn number(self) -> u16 {
        match self {
            Self::Other(number) => number,
            code => CODES.iter().position(|(c, _)| *c == code).map_or(0, |at| at as u16 + 1),
        }
    }

    fn of(number: u16) -> Self {
        let known = usize::from(number).checked_sub(1).and_then(|at| CODES.get(at));
        known.map_or(Self::Other(number), |(code, _)| *code)
    }

    /// Its name in metrics and logs.
    pub fn name(self) -> &'static str {
        CODES.iter().find(|(c, _)| *c == self).map_or("other", |(_, name)| name)
    }
}

/// A refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Of which kind.
    pub code: Code,
    /// What was found, what was expected, what to do.
    pub text: String,
}

impl Refusal {
    /// A refusal in so many words.
    pub fn new(code: Code, text: impl Into<String>) -> Self {
        Self { code, text: text.into() }
    }

    /// The code in two bytes, little-endian, then the line, cut where it is too long.
    #[cfg(feature = "sockets")]
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut end = self.text.len().min(MAX_TEXT);
        while !self.text.is_char_boundary(end) {
            end -= 1;
        }
        [&self.code.number().to_le_bytes()[..], &self.text.as_bytes()[..end]].concat()
    }

    /// What a peer sent, fit to be printed. Any bytes are a refusal.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Self {
        let (code, text) =
            bytes.split_first_chunk().map_or((0, &[][..]), |(code, text)| (u16::from_le_bytes(*code), text));
        let text = String::from_utf8_lossy(&text[..text.len().min(MAX_TEXT)]);
        let text = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        Self { code: Code::of(code), text }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_cross_the_wire_and_bad_ones_are_printable() {
        for (number, (code, name)) in CODES.into_iter().enumerate() {
            let refusal = Refusal::new(code, "busy, 16 runs wait; try again in about 90 s");
            let bytes = refusal.to_bytes();
            assert_eq!(bytes[..2], (number as u16 + 1).to_le_bytes());
            assert_eq!((Refusal::from_bytes(&bytes), code.name()), (refusal, name));
        }
        let long = Refusal::new(Code::Other(700), "ä".repeat(400));
        let back = Refusal::from_bytes(&long.to_bytes());
        assert_eq!((back.code, back.text.len()), (Code::Other(700), MAX_TEXT));
        assert_eq!(Refusal::from_bytes(b""), Refusal::new(Code::Other(0), ""));
        let hostile = Refusal::from_bytes(b"\x02\x00\x1b[2Jhi\n\xff");
        assert_eq!((hostile.code, hostile.text.as_str()), (Code::Busy, " [2Jhi \u{fffd}"));
    }
}
