//! A dealer that is a host of its own: how it brings a service and its client together.
//!
//! | # | from -> to | content | bytes |
//! |---|---|---|---|
//! | 1 | S -> D | [`Errand::Deal`]: a ticket, the client's fingerprint | 57 |
//! | 2 | D -> S | one byte: the ticket is known | 1 |
//! | 3 | S -> C | the ticket, see [`super`] | 18 to 27 |
//! | 4 | C -> D | [`Errand::Take`]: the ticket, the service's fingerprint | 57 |
//! | 5 | | as [`source`](crate::cryptmed::source) | |
//!
//! Connections are mutual TLS, so that each end knows the other's key. The dealer deals for services that it was told of, and
//! for the client alone that one of them names; the client takes from that service alone which it talks to.

use blindvox_engine::Prng;
use blindvox_net::{Channel, Code, Refusal};
use serde::{Deserialize, Serialize};

use super::messages::{MAGIC, SHORT, Ticket, recv, send};
use crate::cryptmed::dealer::deal;
use crate::error::{Error, Result};

/// Message 2.
const READY: [u8; 1] = [1];

/// What somebody comes to a dealer for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Errand {
    /// A service wants it to deal.
    Deal {
        /// The first bytes of a connection.
        magic: [u8; 8],
        /// Drawn by the service for this session.
        ticket: Ticket,
        /// The key's fingerprint of the client that will come.
        client: [u8; 32],
    },
    /// A client comes for its part.
    Take {
        /// The first bytes of a connection.
        magic: [u8; 8],
        /// As the service said.
        ticket: Ticket,
        /// The key's fingerprint of the service that said so.
        service: [u8; 32],
    },
}

/// A service's order: returns when the dealer waits for the client.
///
/// # Errors
/// [`Error::Refused`] by the dealer, [`Error::Protocol`]; the channel's.
pub fn order(channel: &mut Channel, ticket: Ticket, client: [u8; 32]) -> Result<()> {
    send(channel, &Errand::Deal { magic: MAGIC, ticket, client }, SHORT)?;
    if channel.recv()? == READY {
        Ok(())
    } else {
        Err(Error::protocol("the dealer answered an order with something else"))
    }
}

/// The dealer's answer to it.
///
/// # Errors
/// The channel's.
pub fn ready(channel: &mut Channel) -> Result<()> {
    Ok(channel.send(READY.to_vec())?)
}

/// A client's errand; what follows is for its source.
///
/// # Errors
/// The channel's.
pub fn take(channel: &mut Channel, ticket: Ticket, service: [u8; 32]) -> Result<()> {
    send(channel, &Errand::Take { magic: MAGIC, ticket, service }, SHORT)
}

/// What somebody came for.
///
/// # Errors
/// [`Error::Protocol`] for a message that is no errand; the channel's.
pub fn errand(channel: &mut Channel) -> Result<Errand> {
    let errand = recv(channel, SHORT, "an errand")?;
    match errand {
        Errand::Deal { magic, .. } | Errand::Take { magic, .. } if magic == MAGIC => Ok(errand),
        _ => Err(Error::protocol("an errand that is not blindvox's")),
    }
}

/// Deals for both until the service is gone, within so many bytes of memory; both are told of an end before that, where they
/// are to know.
///
/// # Errors
/// Those of [`deal`].
pub fn deal_between(to_client: Channel, to_server: Channel, prng: &mut Prng, most: u64) -> Result<()> {
    let ends = [to_client.canceller(), to_server.canceller()];
    let dealt = deal(to_client, to_server, prng, most);
    let told = match &dealt {
        Err(Error::Refused(refusal)) => Some(refusal.clone()),
        Err(Error::Protocol(_) | Error::Model(_)) => {
            Some(Refusal::new(Code::Request, "what the service asked its dealer for is not possible"))
        }
        _ => None,
    };
    if let Some(refusal) = told {
        ends.iter().for_each(|end| end.refuse(refusal.clone()));
    }
    dealt
}

#[cfg(test)]
mod tests {
    use blindvox_net::local_pair;

    use super::*;

    #[test]
    fn errands_hold_a_ticket_and_a_key_and_others_are_refused() {
        let (mut near, mut far) = local_pair();
        take(&mut near, [7; 16], [9; 32]).unwrap();
        assert_eq!(errand(&mut far).unwrap(), Errand::Take { magic: MAGIC, ticket: [7; 16], service: [9; 32] });
        assert_eq!(near.stats().total.sent, 57);
        let ordering = std::thread::spawn(move || order(&mut near, [7; 16], [8; 32]).map(|()| near));
        assert_eq!(errand(&mut far).unwrap(), Errand::Deal { magic: MAGIC, ticket: [7; 16], client: [8; 32] });
        ready(&mut far).unwrap();
        let mut near = ordering.join().unwrap().unwrap();
        for bad in [vec![], vec![0; 57], vec![1; 300], vec![2; 57]] {
            near.send(bad).unwrap();
            assert!(matches!(errand(&mut far), Err(Error::Protocol(_))));
        }
    }

    /// A service that asks for too much hears so, and so does its client.
    #[test]
    fn what_takes_too_much_is_refused_to_both() {
        let (mut client, to_client) = local_pair();
        let (mut server, to_server) = local_pair();
        let rows = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../demo/models/breast_relu");
        let program = blindvox_models::Bundle::load(&rows).unwrap().whole_program().unwrap();
        let hello = crate::cryptmed::hello::encode(&program, crate::cryptmed::plan::Terms::LABELS).unwrap();
        server.send(hello).unwrap();
        let mut prng = Prng::from_seed_for_tests([1; 32]);
        let dealt = deal_between(to_client, to_server, &mut prng, 1000);
        let Err(Error::Refused(refusal)) = dealt else { panic!("{dealt:?}") };
        for end in [&mut client, &mut server] {
            assert!(matches!(end.recv(), Err(blindvox_net::Error::Refused(told)) if told == refusal));
        }
    }
}
