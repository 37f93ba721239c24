//! `models`, `health`, `audit`: what operators and clients ask beside runs.

use blindvox_protocols::Result;

use crate::args_hosts::{AuditArgs, HealthArgs, ModelsArgs};
use crate::input::Done;
use crate::remote;
use crate::service::{admin, audit};

/// The `models` command.
pub(crate) fn models(args: &ModelsArgs) -> Result<Done> {
    let mut visit = remote::Peer::of(&args.remote)?.visit(remote::anything())?;
    for model in visit.models()? {
        let card = visit.card(&model.name)?;
        let [d, h, w] = card.input.dims;
        say!(
            "{}: {} on {d} x {h} x {w}, {} ({}; bundle {})",
            model.name,
            card.name,
            card.classes.join(", "),
            use_of(&card),
            &card.digest[..16]
        );
    }
    Ok(Done::Whole)
}

fn use_of(card: &blindvox_models::ModelCard) -> String {
    let card = card.card.as_ref();
    let licence = card.and_then(|c| c.licence.clone()).unwrap_or_else(|| "no licence stated".to_owned());
    let text = card.and_then(|c| c.intended_use.clone()).map_or(licence.clone(), |use_| format!("{licence}; {use_}"));
    text.chars().filter(|c| !c.is_control()).take(200).collect()
}

/// The `health` command.
pub(crate) fn health(args: &HealthArgs) -> Result<Done> {
    admin::ready(args.admin)?;
    say!("ready");
    Ok(Done::Whole)
}

/// The `audit` command.
pub(crate) fn audit(args: &AuditArgs) -> Result<Done> {
    for log in &args.logs {
        let (lines, last) = audit::verify(log)?;
        say!("{}: {lines} lines, each follows the one before; the last is {last}", log.display());
    }
    match &args.roster {
        Some(roster) => super::federate::audit(roster, &args.logs),
        None => Ok(Done::Whole),
    }
}
