//! Messages between two parties, with what went over counted: no engine, no protocol.
//!
//! | module | what |
//! |---|---|
//! | [`channel`] | one party's end of a connection |
//! | [`transport`] | what carries its messages: queues in a process, TCP, TLS over it |
//! | `identity` | keys, certificates and whom to trust (feature `tls`) |
//! | [`refusal`] | why a service doesn't do what it is asked for |
//! | [`error`] | what can go wrong |
//! | `testing` | a relay that spoils messages (feature `testing`) |

pub mod channel;
pub mod error;
#[cfg(feature = "tls")]
pub mod identity;
pub mod refusal;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod transport;

pub use channel::{Channel, Party, Traffic, local_pair};
pub use error::{Error, Result};
pub use refusal::{Code, Refusal};
