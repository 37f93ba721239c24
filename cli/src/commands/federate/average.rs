//! `federate average`: the average of model files, all parties of a round in this process.

use blindvox_federated::codec::Update;
use blindvox_federated::local::{self, Contribution};
use blindvox_federated::model::{Difference, Model};
use blindvox_federated::plan::{Averaged, Plan};
use blindvox_models::atomic;
use blindvox_protocols::{Error, Result};

use super::{Exclude, PAILLIER_BITS, bits, check_clip, check_proofs, federation, told};
use crate::args_federate::{AverageArgs, SchemeChoice};
use crate::gpu;
use crate::input::Done;
use crate::ui::files;

/// The command.
pub(crate) fn run(args: &AverageArgs) -> Result<Done> {
    let inputs: Vec<_> = args.models.iter().map(|path| ("a model", path.as_path())).collect();
    files::check_outputs(&inputs, &[("-o", &args.output)])?;
    let exclude = Exclude::parse(args.exclude.as_deref())?;
    let locals = args.models.iter().map(|path| exclude.load(path)).collect::<Result<Vec<_>>>()?;
    let base = match &args.base {
        Some(path) => exclude.load(path)?,
        None => locals[0].clone(),
    };
    let updates = locals.iter().map(|local| Difference::new(&base, local).map_err(told));
    let updates = updates.collect::<Result<Vec<_>>>()?;
    let examples = counts(args, &locals)?;
    let tensors = tensors(args, &base, &updates);
    let members = locals.len();
    let most = examples.iter().copied().max().unwrap_or(1);
    let bits = bits(args.precision, members, "models")?;
    check_proofs(args.prove, args.scheme)?;
    check_clip(args.clip)?;
    check_examples(bits, &examples)?;
    let names: Vec<String> = (1..=members).map(|i| format!("model-{i}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let device = gpu::device(args.backend, args.adapter.as_deref())?;
    let (mut federation, scheme) = federation(args.scheme, &names, &device)?;
    let plan = Plan { prove: args.prove, ..local::plan(scheme, bits, base.digest(), tensors, most) };
    let brought: Vec<Contribution<'_>> =
        updates.iter().zip(&examples).map(|(update, &examples)| Contribution { update, examples }).collect();
    let mut average = base.clone();
    let done = federation.round(&plan, &brought, &mut average).map_err(told)?;
    done.warnings.iter().for_each(|warning| eprintln!("warning: {warning}"));
    atomic::commit_all(vec![files::stage(&args.output, average.bytes())?])?;
    say!(
        "Averaged {members} models of {} numbers at {bits} bits into {}; an upload had {} bytes",
        plan.fields() - 2,
        args.output.display(),
        done.bytes[2] / members,
    );
    match args.scheme {
        SchemeChoice::Plain => say!("Nothing was encrypted: --scheme plain"),
        SchemeChoice::Paillier => {
            say!("The key had {PAILLIER_BITS} bits: 112-bit security; this process was its dealer")
        }
        SchemeChoice::Rlwe => {}
    }
    Ok(Done::Whole)
}

fn check_examples(bits: u32, examples: &[u64]) -> Result<()> {
    let most = 1u64 << (bits - 1);
    match examples.iter().find(|n| !(1..=most).contains(*n)) {
        Some(found) => Err(Error::Input(format!("examples: found {found}, expected 1 to {most} at {bits} bits"))),
        None => Ok(()),
    }
}

/// Each model's number of examples: all say it, or none does.
fn counts(args: &AverageArgs, locals: &[Model]) -> Result<Vec<u64>> {
    if let Some(examples) = &args.examples {
        let (found, expected) = (examples.len(), locals.len());
        if found != expected {
            return Err(Error::Input(format!("--examples: found {found} counts, expected {expected}, one a model")));
        }
        return Ok(examples.clone());
    }
    let stated: Vec<u64> = locals.iter().filter_map(Model::examples).collect();
    match args.models.iter().zip(locals).find(|(_, local)| local.examples().is_none()) {
        _ if stated.is_empty() => Ok(vec![1; locals.len()]),
        Some((path, _)) => {
            let path = path.display();
            Err(Error::Input(format!(
                "{path}: found no metadata \"examples\", expected one as in the others (--examples)"
            )))
        }
        None => Ok(stated),
    }
}

/// What is averaged, with clips: the one that was asked for, or the power of two above the largest change of each tensor.
fn tensors(args: &AverageArgs, base: &Model, updates: &[Difference<'_>]) -> Vec<Averaged> {
    let mut tensors = base.layout(args.clip.unwrap_or(1.0));
    if args.clip.is_none() {
        for (t, tensor) in tensors.iter_mut().enumerate() {
            let largest = updates.iter().map(|update| largest(update, t, tensor.elements as usize)).fold(0.0, f64::max);
            if largest.is_normal() {
                tensor.clip = largest.log2().ceil().exp2();
            }
        }
    }
    tensors
}

fn largest(update: &Difference<'_>, tensor: usize, elements: usize) -> f64 {
    let mut values = [0.0; 4096];
    let mut most = 0.0f64;
    for first in (0..elements).step_by(values.len()) {
        let values = &mut values[..4096.min(elements - first)];
        update.read(tensor, first, values);
        most = values.iter().fold(most, |most, x| most.max(x.abs()));
    }
    most
}
