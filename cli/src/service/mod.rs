//! The service: what it is told, whom it lets in, what it counts and writes down.
//!
//! | module | what |
//! |---|---|
//! | [`config`] | `service.toml` |
//! | [`clients`] | `clients.toml`: who may have what |
//! | [`models`] | what is served |
//! | [`admission`] | places, memory, queue |
//! | [`audit`] | the log of runs, each line hashed with the one before |
//! | [`metrics`] | counters, as Prometheus reads them |
//! | [`admin`] | health and metrics over HTTP, for this machine alone |
//! | [`state`] | what connections share |
//! | [`door`], [`connections`] | sockets in; conversations, the end |
//! | [`client`], `rows` | what one client gets; rows with a dealer |

pub(crate) mod admin;
pub(crate) mod admission;
pub(crate) mod audit;
pub(crate) mod client;
pub(crate) mod clients;
pub(crate) mod config;
pub(crate) mod connections;
pub(crate) mod door;
pub(crate) mod metrics;
pub(crate) mod models;
mod rows;
pub(crate) mod state;
