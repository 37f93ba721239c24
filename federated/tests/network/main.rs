//! Federations over loopback TLS: the same models as in one process, whoever is killed and whatever connection is cut; what
//! strangers and faulty members send is refused; no thread is left.

mod common;
mod faults;
mod runs;
