//! Both parties in one process: messages change owner and are never copied.

use super::queue::{Popper, Pusher, queue};

/// The two ends of a connection, each with what it sends to and receives from.
pub fn pair() -> ((Pusher, Popper), (Pusher, Popper)) {
    let (to_server, from_client) = queue();
    let (to_client, from_server) = queue();
    ((to_server, from_server), (to_client, from_client))
}
