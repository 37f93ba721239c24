//! A service and its clients: what they say to each other before, between and after runs, version 3.
//!
//! | # | from -> to | content | bytes |
//! |---|---|---|---|
//! | 1 | client -> server | [`Hello`](messages::Hello): magic, versions, what the client accepts | <= 256 |
//! | 2 | server -> client | [`Welcome`](messages::Welcome): the version | <= 256 |
//! | 3 | client -> server | [`Request`](messages::Request): list, describe a model, run one, or run rows with a dealer | <= 4 KiB |
//! | 4 | server -> client | [`Reply`](messages::Reply): names, or a model's card | <= 300 KiB |
//! | 5 | server -> client | before a run: the place in the queue, as often as it changes, then the start and what was chosen | <= 256 |
//! | 6.. | | architecture, keys, transfers, the run as in [`shares`](crate::infer::shares) | |
//! | 6.. | | with a dealer: as in [`session`](crate::cryptmed::session), to the end of the connection | |
//! | last | both | done, see [`Channel::pause`](blindvox_net::Channel::pause); then 3 again, with the same keys and transfers | 16 |
//!
//! A refusal ends the connection at any time ([`Channel::refuse`](blindvox_net::Channel::refuse)). The server chooses among
//! what the client accepts, the client holds the choice to that. Unknown feature bits are ignored, unknown messages end the
//! connection. The client holds no weights and never sees the graph: what it needs of a model is its
//! [`ModelCard`](blindvox_models::ModelCard), and the architecture of the run.
//!
//! | module | what |
//! |---|---|
//! | [`messages`] | their forms and bounds |
//! | [`visit`] | the client's side |
//! | [`host`] | the service's side of one connection |
//! | [`dealt`] | both sides' runs of rows with a dealer |
//! | [`dealer`] | a dealer that is a host of its own |

pub mod dealer;
pub mod dealt;
pub mod host;
pub mod messages;
pub mod visit;

pub use dealt::{Dealt, DealtAdmission, Rows, Start};
pub use host::{Admission, Host, serve};
pub use messages::{Accepts, DealtRequest, Listed, RunRequest, Ticket};
pub use visit::{Order, Visit};

use blindvox_net::Channel;

use crate::infer::Session;

/// A connection before its first run, and after it.
enum Line {
    Fresh(Box<Channel>),
    Met(Box<Session>),
}

impl Line {
    fn channel(&mut self) -> &mut Channel {
        match self {
            Self::Fresh(channel) => channel,
            Self::Met(session) => session.channel(),
        }
    }
}
