//! `federate serve`: the aggregator of a federation.

use std::net::TcpListener;
use std::time::Duration;

use blindvox_engine::Prng;
use blindvox_federated::aggregator::Aggregator;
use blindvox_federated::local;
use blindvox_federated::message::{hash, shown};
use blindvox_federated::net::course::{Course, Run};
use blindvox_federated::net::server::{Host, serve};
use blindvox_federated::plan::{Audience, Plan, SchemeKind};
use blindvox_net::transport::tls;
use blindvox_protocols::{Error, Result};

use super::party::{self, Party};
use super::{Exclude, bits, check_clip, check_proofs, told};
use crate::args_federate::SchemeChoice;
use crate::args_federate_hosts::{AudienceChoice, FederateServeArgs};
use crate::input::Done;

/// The command.
pub(crate) fn run(args: &FederateServeArgs) -> Result<Done> {
    check_clip(Some(args.clip))?;
    check_proofs(args.prove, args.scheme)?;
    let first = Exclude::parse(args.exclude.as_deref())?.load(&args.model)?;
    let party = Party::load(&args.party)?;
    let scheme = scheme(args, &party)?;
    let bits = bits(args.precision, party.roster.members.len(), "members")?;
    let most = 1 << (bits - 1);
    if !(1..=most).contains(&args.most_examples) {
        let found = args.most_examples;
        return Err(Error::Input(format!("--most-examples: found {found}, expected 1 to {most} at {bits} bits")));
    }
    let audience = match args.audience {
        AudienceChoice::Clients => Audience::Clients,
        AudienceChoice::Everyone => Audience::Everyone,
    };
    let (prove, timeouts) = (args.prove, [args.round_timeout; 2]);
    let plan = local::plan(scheme, bits, first.digest(), first.layout(args.clip), args.most_examples);
    let plan = Plan { audience, prove, timeouts, ..plan };
    let timeout = Duration::from_secs(args.round_timeout.into());
    let run = Run { rounds: args.rounds, plan, timeout, again: args.again };
    let signer = party::signer(&party.identity)?;
    let aggregator =
        Aggregator::open(&party.roster, signer, party.store()?, &party.means, Prng::from_os()?).map_err(told)?;
    let course = Course::open(aggregator, party.store()?, run, &first).map_err(told)?;
    let wrong = |e: std::io::Error| Error::Input(format!("--listen {}: {e}", args.listen));
    let listener = TcpListener::bind(args.listen).map_err(wrong)?;
    let address = listener.local_addr().map_err(wrong)?;
    say!("serving on {address}, federation {}", shown(&party.roster.id()));
    let tls = tls::Server::new(&party.identity, None)?;
    serve(Host { course, tls, listener, told: &|what| say!("{what}") }).map_err(told)?;
    say!("All {} rounds are over", args.rounds);
    if args.audience == AudienceChoice::Everyone {
        let newest = blindvox_federated::net::models::newest(&*party.store()?).map_err(told)?;
        say!("The last model is in {}, {:.16}", args.party.state.display(), shown(&hash(&newest.unwrap_or_default())));
    }
    Ok(Done::Whole)
}

fn scheme(args: &FederateServeArgs, party: &Party<'_>) -> Result<SchemeKind> {
    Ok(match args.scheme {
        SchemeChoice::Plain => {
            crate::ui::screen::warn("--scheme plain: nothing is encrypted");
            SchemeKind::Plain
        }
        SchemeChoice::Rlwe => SchemeKind::Rlwe,
        SchemeChoice::Paillier => {
            let none = || Error::Input("--keys is missing: the dealer's key (`federate ceremony` makes it)".to_owned());
            SchemeKind::Paillier(hash(&party.means.dealt.as_ref().ok_or_else(none)?.to_bytes()))
        }
    })
}
