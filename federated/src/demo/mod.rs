//! A federation to look at: three hospitals with a third of a table each train one network.
//!
//! | module | what |
//! |---|---|
//! | [`table`] | rows, and whose they are |
//! | [`network`] | a network of rows: training by gradients, in plain Rust |

pub mod network;
pub mod table;

use blindvox_engine::Prng;

use crate::error::Result;
use crate::local::{self, Contribution, Federation};
use crate::model::{Difference, Model};
use crate::plan::SchemeKind;
use network::Network;
use table::{Dealt, Row};

/// Widths of the network.
const WIDTHS: [usize; 4] = [30, 16, 16, 2];
/// Passes over its rows that a hospital makes in a round.
const EPOCHS: usize = 2;
/// The first round's clip.
const CLIP: f64 = 0.5;
/// n_max.
const MOST_EXAMPLES: u64 = 4096;

/// What a federation came to.
#[derive(Debug)]
pub struct Trained {
    /// The last model's file.
    pub model: Vec<u8>,
    /// The share of held-out rows that it classes rightly.
    pub accuracy: f64,
    /// Bytes of one client's last Upload, of the last Answer and of the last Result.
    pub bytes: [usize; 3],
}

fn start() -> Network {
    Network::new(&WIDTHS, &mut Prng::from_seed_for_tests([1; 32]))
}

/// The generator of a hospital's training in a round: the same whatever the scheme.
fn training(hospital: usize, round: usize) -> Prng {
    let mut seed = [2; 32];
    (seed[0], seed[1]) = (hospital as u8, round as u8);
    Prng::from_seed_for_tests(seed)
}

/// The hospitals' names.
pub const HOSPITALS: [&str; 3] = ["north", "south", "west"];

/// Trains together for some rounds of a scheme with so many bits. Only training repeats: keys and noise are the system's.
///
/// # Errors
/// Those of the parties.
pub fn together(
    dealt: &Dealt,
    federation: &mut Federation,
    (scheme, bits): (SchemeKind, u32),
    rounds: usize,
) -> Result<Trained> {
    let mut model = Model::from_bytes(start().to_file(None)?, "the model")?;
    let (mut tensors, mut bytes) = (model.layout(CLIP), [0; 3]);
    for round in 0..rounds {
        let mut locals = Vec::new();
        for (hospital, rows) in dealt.hospitals.iter().enumerate() {
            let mut network = start();
            network.read(model.bytes())?;
            network.train(rows, EPOCHS, &mut training(hospital, round));
            locals.push(Model::from_bytes(network.to_file(Some(rows.len()))?, "a local model")?);
        }
        let base = model.clone();
        let updates = locals.iter().map(|local| Difference::new(&base, local)).collect::<Result<Vec<_>>>()?;
        let brought: Vec<Contribution<'_>> = updates
            .iter()
            .zip(&locals)
            .map(|(update, local)| Contribution { update, examples: local.examples().unwrap_or(1) })
            .collect();
        let plan = local::plan(scheme, bits, base.digest(), tensors.clone(), MOST_EXAMPLES);
        let done = federation.round(&plan, &brought, &mut model)?;
        federation.finish(model.digest(), &done.opened)?;
        tensors.iter_mut().zip(&done.opened.clips).for_each(|(tensor, clip)| tensor.clip = *clip);
        bytes = [done.bytes[2] / 3, done.bytes[4] / 3, done.bytes[5] / 3];
    }
    let mut network = start();
    network.read(model.bytes())?;
    Ok(Trained { accuracy: network.accuracy(&dealt.held_out), model: model.bytes().to_vec(), bytes })
}

/// The share of held-out rows that a hospital's own network classes rightly, after as many passes over its rows alone.
pub fn alone(rows: &[Row], held_out: &[Row], hospital: usize, rounds: usize) -> f64 {
    let mut network = start();
    (0..rounds).for_each(|round| network.train(rows, EPOCHS, &mut training(hospital, round)));
    network.accuracy(held_out)
}
