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
//! | [`connections`] | sockets in, conversations, the end |
//! | [`client`] | what one client gets |

pub mod admin;
pub mod admission;
pub mod audit;
pub mod client;
pub mod clients;
pub mod config;
pub mod connections;
pub mod metrics;
pub mod models;
