//! `federate join`, `submit`, `fetch`, `status`: a member of a federation.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use blindvox_federated::aggregator::Stage;
use blindvox_federated::message::hash;
use blindvox_federated::model::Model;
use blindvox_federated::net::caller::{Caller, End, Trained, Trainer, Training};
use blindvox_federated::net::way::Way;
use blindvox_federated::roster::Roster;
use blindvox_federated::store::Store;
use blindvox_federated::{Error as Fault, Result as Outcome};
use blindvox_models::atomic;
use blindvox_net::identity::Identity;
use blindvox_protocols::{Error, Result};

use super::party::Party;
use super::told;
use crate::args_federate_hosts::{FetchArgs, JoinArgs, MemberArgs, StatusArgs, SubmitArgs};
use crate::input::Done;
use crate::ui::files;

/// The digest of the model that was fetched last.
const FETCHED: &str = "fetched";

/// Calls as a member until a trainer stops it or all rounds are over.
fn call(args: &MemberArgs, party: &Party<'_>, trainer: &mut dyn Trainer) -> Result<End> {
    let (member, way) = party.member(args)?;
    Caller::new(member, party.store()?, way, &|what| say!("{what}")).run(trainer).map_err(told)
}

fn write(path: &Path, model: &Model) -> Result<()> {
    Ok(atomic::commit_all(vec![files::stage(path, model.bytes())?])?)
}

/// A model and how many examples it was trained on, by a flag or by its file.
fn trained(path: &Path, examples: Option<u64>) -> Outcome<Trained> {
    let model = Model::load(path)?;
    let none = || {
        let path = path.display();
        Fault::Input(format!("{path}: found no metadata \"examples\", expected one (or --examples)"))
    };
    let examples = examples.or(model.examples()).ok_or_else(none)?;
    Ok(Trained { model, examples })
}

/// A command that trains.
struct Shell<'a> {
    args: &'a JoinArgs,
    folder: PathBuf,
}

/// A path as one word of a shell.
fn quoted(path: &Path) -> String {
    format!("'{}'", path.display().to_string().replace('\'', "'\\''"))
}

impl Trainer for Shell<'_> {
    fn train(&mut self, training: &Training<'_>) -> Outcome<Option<Trained>> {
        let io = |path: &Path| {
            let path = path.to_owned();
            move |source| Fault::Io { path, source }
        };
        std::fs::create_dir_all(&self.folder).map_err(io(&self.folder))?;
        let [base, out] = ["base", "out"].map(|name| self.folder.join(format!("{name}.safetensors")));
        atomic::write_atomic(&base, |file| file.write_all(training.base.bytes()))?;
        if out.exists() {
            std::fs::remove_file(&out).map_err(io(&out))?;
        }
        say!("round {} of {}: training", training.round, training.rounds);
        let text = self.args.train.replace("{base}", &quoted(&base)).replace("{out}", &quoted(&out));
        let text = text.replace("{round}", &training.round.to_string());
        let status = Command::new("sh").args(["-c", &text]).status().map_err(io(Path::new("sh")))?;
        if !status.success() {
            return Err(Fault::Input(format!("--train: {status} in round {}: {text}", training.round)));
        }
        if !out.is_file() {
            return Err(Fault::Input(format!("--train: found no {} after it, expected the model", out.display())));
        }
        trained(&out, self.args.examples).map(Some)
    }
}

/// The `federate join` command.
pub(crate) fn join(args: &JoinArgs) -> Result<Done> {
    if let Some(missing) = ["{base}", "{out}"].into_iter().find(|word| !args.train.contains(word)) {
        return Err(Error::Input(format!("--train {}: found no {missing}, expected it", args.train)));
    }
    if let Some(output) = &args.output {
        files::check_outputs(&[], &[("-o", output)])?;
    }
    let party = Party::load(&args.member.party)?;
    let folder = args.member.party.state.join("training");
    // Whatever folder the command changes to.
    let folder = std::path::absolute(&folder).unwrap_or(folder);
    let End::Done(model) = call(&args.member, &party, &mut Shell { args, folder })? else {
        return Err(Error::Protocol("training stopped before all rounds were over".to_owned()));
    };
    if let Some(output) = &args.output {
        write(output, &model)?;
    }
    say!("All rounds are over");
    Ok(Done::Whole)
}

/// Keeps the model to train, and stops.
struct Fetching {
    store: Box<dyn Store>,
    fetched: Option<(Model, u32, u32)>,
}

impl Trainer for Fetching {
    fn train(&mut self, training: &Training<'_>) -> Outcome<Option<Trained>> {
        self.store.put(FETCHED, &hash(training.base.bytes()))?;
        self.fetched = Some((training.base.clone(), training.round, training.rounds));
        Ok(None)
    }
}

/// The `federate fetch` command.
pub(crate) fn fetch(args: &FetchArgs) -> Result<Done> {
    files::check_outputs(&[], &[("-o", &args.output)])?;
    let party = Party::load(&args.member.party)?;
    let mut fetching = Fetching { store: party.store()?, fetched: None };
    let end = call(&args.member, &party, &mut fetching)?;
    match (end, fetching.fetched) {
        (End::Done(model), _) => {
            write(&args.output, &model)?;
            say!("All rounds are over: {} is the last model", args.output.display());
        }
        (End::Stopped, Some((model, round, rounds))) => {
            write(&args.output, &model)?;
            say!("round {round} of {rounds}: train {}, then `federate submit`", args.output.display());
        }
        (End::Stopped, None) => return Err(Error::Protocol("stopped without a model".to_owned())),
    }
    Ok(Done::Whole)
}

/// Hands in a model that was trained elsewhere, and stops.
struct Submitting<'a> {
    args: &'a SubmitArgs,
    store: Box<dyn Store>,
}

impl Trainer for Submitting<'_> {
    fn train(&mut self, training: &Training<'_>) -> Outcome<Option<Trained>> {
        if self.store.get(FETCHED)?.as_deref() != Some(&hash(training.base.bytes())) {
            let (round, path) = (training.round, self.args.model.display());
            return Err(Fault::Input(format!(
                "{path}: round {round} trains another model than was fetched last: `federate fetch` it first"
            )));
        }
        trained(&self.args.model, self.args.examples).map(Some)
    }

    fn is_once(&self) -> bool {
        true
    }
}

/// The `federate submit` command.
pub(crate) fn submit(args: &SubmitArgs) -> Result<Done> {
    trained(&args.model, args.examples).map_err(told)?;
    let party = Party::load(&args.member.party)?;
    let mut submitting = Submitting { args, store: party.store()? };
    match call(&args.member, &party, &mut submitting)? {
        End::Stopped => say!("The update is handed in: `federate fetch` waits for the new model"),
        End::Done(_) => return Err(Error::Input(format!("{}: all rounds are over", args.model.display()))),
    }
    Ok(Done::Whole)
}

/// The `federate status` command.
pub(crate) fn status(args: &StatusArgs) -> Result<Done> {
    let roster = Roster::load(&args.roster).map_err(told)?;
    let mut way = Way::new(&roster, &Identity::load(&args.identity)?, &args.server, Duration::ZERO).map_err(told)?;
    let status = Caller::status(&mut way).map_err(told)?;
    let (round, attempt) = status.place;
    let stage = match status.stage {
        Some(Stage::Gathering) => "members say that they take part",
        Some(Stage::Uploading) => "updates come",
        Some(Stage::Answering) => "holders answer",
        Some(Stage::Answered) => "members open the sum",
        None => "all is over",
    };
    say!("round {round} of {}, attempt {attempt}: {stage}", status.rounds);
    for (what, members) in ["ready", "updates", "answers", "new model"].into_iter().zip(&status.members) {
        let names: Vec<&str> = members.iter().map(|id| roster.name(*id)).collect();
        say!("{what:9} : {}", if names.is_empty() { "nobody".to_owned() } else { names.join(", ") });
    }
    Ok(Done::Whole)
}
