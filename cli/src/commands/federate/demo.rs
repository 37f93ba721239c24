//! `federate demo`: three hospitals with a third of a table each.

use std::path::{Path, PathBuf};
use std::time::Instant;

use blindvox_engine::Device;
use blindvox_federated::demo::{self, HOSPITALS, Trained, table};
use blindvox_protocols::{Error, Result};

use super::{PAILLIER_BITS, federation, told};
use crate::args_federate::{FederateDemoArgs, SchemeChoice};
use crate::input::Done;

/// Where the table is.
const TABLE: &str = "tabular/breast_cancer_train.csv";

/// The command.
pub(crate) fn run(args: &FederateDemoArgs) -> Result<Done> {
    let shipped = [PathBuf::from("demo"), Path::new(env!("CARGO_MANIFEST_DIR")).join("../demo")];
    let table = shipped.iter().map(|folder| folder.join(TABLE)).find(|path| path.is_file());
    let table = table.ok_or_else(|| {
        Error::Input(format!("federate demo: demo/{TABLE} was not found; run from the repository, or use `average`"))
    })?;
    let dealt = table::deal(&table, 3).map_err(told)?;
    let rounds = args.rounds as usize;
    let sizes: Vec<String> = dealt.hospitals.iter().map(|rows| rows.len().to_string()).collect();
    say!(
        "Three hospitals with {} rows train a 30-16-16-2 network in {rounds} rounds; {} rows are held out.",
        sizes.join(", "),
        dealt.held_out.len()
    );
    let mut models: Vec<(&str, Trained)> = Vec::new();
    for choice in [SchemeChoice::Plain, SchemeChoice::Rlwe, SchemeChoice::Paillier] {
        let begun = Instant::now();
        let (mut federation, scheme) = federation(choice, &HOSPITALS, &Device::cpu())?;
        let name = choice.name();
        if choice == SchemeChoice::Paillier {
            let seconds = begun.elapsed().as_secs_f64();
            say!(
                "A dealer made a key of {PAILLIER_BITS} bits (112-bit security) in {seconds:.1} s: it could open everything."
            );
        }
        let begun = Instant::now();
        let trained = demo::together(&dealt, &mut federation, (scheme, args.bits), rounds).map_err(told)?;
        let [upload, answer, result] = trained.bytes;
        say!(
            "{name:9} {:6.2} s; in a round a hospital sends {upload} bytes of update and {answer} of answer, and gets {result}",
            begun.elapsed().as_secs_f64()
        );
        models.push((name, trained));
    }
    let first = &models[0].1;
    for (name, trained) in &models[1..] {
        if trained.model != first.model {
            return Err(Error::Protocol(format!("the models of plain and {name} differ")));
        }
    }
    let names: Vec<&str> = models.iter().map(|(name, _)| *name).collect();
    say!("The models are equal to the bit: {}.", names.join(" = "));
    let alone: Vec<f64> = (0..3).map(|h| demo::alone(&dealt.hospitals[h], &dealt.held_out, h, rounds)).collect();
    let shown: Vec<String> = alone.iter().map(|a| format!("{:.1} %", a * 100.0)).collect();
    let mean = alone.iter().sum::<f64>() / 3.0;
    say!(
        "Held-out rows that are classed rightly: together {:.1} %, each alone {} (mean {:.1} %).",
        first.accuracy * 100.0,
        shown.join(", "),
        mean * 100.0
    );
    let verdict =
        if first.accuracy >= mean { "No worse together than alone, on average." } else { "Alone is better here." };
    say!("{verdict}");
    say!("The aggregator saw: who took part, sizes and times, ciphertexts, and shares and answers sealed to others.");
    Ok(Done::Whole)
}
