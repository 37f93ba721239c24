//! Which comparison suits a link: T = CPU of both ends + bytes / rate + flights · latency, least of all.
//!
//! Times add up because steps alternate: a party computes what it then sends, and the other waits for it. Only within
//! linear layers both directions and the work overlap, so a sum is high by 2 to 37 % there, where their maximum is low
//! by half (measured: `bench/results/links.md`).
//!
//! From public sizes alone, so both parties come to the same. CPU is at the [rates](crate::rates) of one thread; only
//! what differs among the ways is counted.

use std::str::FromStr;
use std::time::Duration;

use blindvox_models::{Program, Step, TensorId};

use super::demand;
use super::estimate::estimate;
use super::flights::flights;
use super::presets::{Comparison, Source, Ways};
use crate::error::{Error, Result};
use crate::gc::arithmetic;
use crate::linear::Plan;
use crate::ot::LINK_WIDTH;
use crate::rates::{AND, COT, LABEL, SILENT, WORD};
use crate::traffic::Bytes;

/// What a link carries.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LinkSpeed {
    /// Bits a second, each way.
    pub bits_per_second: f64,
    /// A message there and its answer back.
    pub round_trip: Duration,
}

/// As `1Gbit,20ms`: kbit, Mbit or Gbit; us, ms or s.
impl FromStr for LinkSpeed {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let bad = || Error::Input(format!("{text}: found no link, expected RATE,RTT as in 1Gbit,20ms"));
        let (rate, time) = text.split_once(',').ok_or_else(bad)?;
        let unit = |text: &str, units: &[(&str, f64)]| {
            let (unit, factor) = units.iter().find(|(unit, _)| text.ends_with(unit))?;
            let number: f64 = text.strip_suffix(unit)?.trim().parse().ok()?;
            (number.is_finite() && (0.0..1e9).contains(&number)).then_some(number * factor)
        };
        let rate = unit(rate.trim(), &[("kbit", 1e3), ("Mbit", 1e6), ("Gbit", 1e9)]).filter(|&rate| rate > 0.0);
        let time = unit(time.trim(), &[("us", 1e-6), ("ms", 1e-3), ("s", 1.0)]);
        Ok(Self { bits_per_second: rate.ok_or_else(bad)?, round_trip: Duration::from_secs_f64(time.ok_or_else(bad)?) })
    }
}

/// The comparison that a run of `program`, whose plans these are, takes least time with over this link; signs by
/// garbled circuits in one process. `ways` has the rest.
///
/// # Errors
/// For a program that can't be encoded.
pub fn comparison(program: &Program, plans: &[Plan], ways: &Ways, link: Option<LinkSpeed>) -> Result<Comparison> {
    let Some(link) = link else { return Ok(Comparison::SignSelect) };
    let each = [Comparison::SignSelect, Comparison::Transfers].map(|compare| Ways { compare, ..*ways });
    Ok(fastest(program, plans, each, link)?.compare)
}

/// All ways that `auto` chooses among; `base` has the rest.
pub fn all(base: Ways) -> impl Iterator<Item = Ways> {
    let sources = [Source::SoftSpoken, Source::Silent];
    let compared = move |compare| sources.map(|ot| Ways { compare, ot, ..base });
    [Comparison::SignSelect, Comparison::Transfers].into_iter().flat_map(compared)
}

/// The ways of least time over this link, of those given; the first of equal ones.
///
/// # Errors
/// For a program that can't be encoded.
pub fn fastest(
    program: &Program,
    plans: &[Plan],
    among: impl IntoIterator<Item = Ways>,
    link: LinkSpeed,
) -> Result<Ways> {
    let mut best = None;
    for ways in among {
        let seconds = seconds(program, plans, &ways, link)?;
        if best.is_none_or(|(least, _)| seconds < least) {
            best = Some((seconds, ways));
        }
    }
    best.map(|(_, ways)| ways).ok_or_else(|| Error::Input("no way of a run is left to choose".to_owned()))
}

/// Seconds of what the ways of a run decide, over this link.
///
/// # Errors
/// For a program that can't be encoded.
pub fn seconds(program: &Program, plans: &[Plan], ways: &Ways, link: LinkSpeed) -> Result<f64> {
    let bytes = estimate(program, plans, ways, LINK_WIDTH)?.total();
    Ok(over(link, cpu(program, ways), bytes, flights(program, ways)))
}

/// Seconds over this link of what takes `cpu` seconds, sends so many bytes and so many flights.
pub fn over(link: LinkSpeed, cpu: f64, bytes: Bytes, flights: usize) -> f64 {
    let carried = (bytes.up + bytes.down) as f64 * 8.0 / link.bits_per_second;
    cpu + carried + flights as f64 * link.round_trip.as_secs_f64() / 2.0
}

/// Comparisons of a step, and their bits.
pub(super) fn comparisons(program: &Program, step: &Step) -> Option<(usize, u32)> {
    let elements = |tensor: TensorId| program.tensors[tensor].elements();
    match step {
        Step::Relu { input, bits, .. } => Some((elements(*input), *bits)),
        Step::MaxPool { input, output, bits, .. } => Some((elements(*input) - elements(*output), bits + 1)),
        Step::Argmax { bits, .. } | Step::Blend { bits, .. } => {
            Some((program.labelled() * program.classes.saturating_sub(1), bits + 1))
        }
        _ => None,
    }
}

fn cpu(program: &Program, ways: &Ways) -> f64 {
    let transfers: usize = demand::transfers(program, ways).iter().sum();
    let each = match ways.ot {
        Source::SoftSpoken => COT.ns,
        Source::Silent => SILENT.ns,
    };
    let times = |step: &Step| if step.output().is_some() { program.passes() } else { 1 };
    let compared = program.steps.iter().filter_map(|step| comparisons(program, step).map(|found| (step, found)));
    let compared = compared.map(|(step, (n, bits))| {
        let each = match ways.compare {
            Comparison::Transfers => WORD.ns,
            Comparison::SignSelect => AND.ns * f64::from(bits - 1) + LABEL.ns * f64::from(bits),
            Comparison::FullCircuit => {
                AND.ns * arithmetic::relu(bits as usize).ands() as f64 + LABEL.ns * f64::from(bits)
            }
        };
        each * (n * times(step)) as f64
    });
    (compared.sum::<f64>() + each * transfers as f64) * 1e-9
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_read_and_others_refused() {
        let link: LinkSpeed = "1Gbit,20ms".parse().unwrap();
        assert_eq!(link, LinkSpeed { bits_per_second: 1e9, round_trip: Duration::from_millis(20) });
        let link: LinkSpeed = "100Mbit, 200us".parse().unwrap();
        assert_eq!(link, LinkSpeed { bits_per_second: 1e8, round_trip: Duration::from_micros(200) });
        for bad in ["", "1Gbit", "1Gbit,", ",20ms", "0Gbit,1ms", "-1Gbit,1ms", "1Gbit,-1ms", "1GB,1ms", "nanGbit,1ms"] {
            let text = bad.parse::<LinkSpeed>().unwrap_err().to_string();
            assert!(text.contains("RATE,RTT"), "{text}");
        }
    }
}
