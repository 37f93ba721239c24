//! Levels and scales of a network under CKKS, as a bundle keeps them.
//!
//! A network is a line of linear layers with squares between. A layer takes what it reads to a scale of its own, `delta`
//! bits, and drops primes of the chain; a square is left at the square of the scale, so that a square and the layer
//! after it share the primes that the layer drops. `omega` is what is left for the weights:
//!
//! ```text
//! omega = delta + bits dropped - 2 delta of the layer before
//! ```

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// The largest scale of what a client encrypts, in bits.
const MAX_FRESH: i64 = 60;
/// The most primes of a chain.
const MAX_CHAIN: usize = 64;
/// The most layers.
const MAX_LAYERS: usize = 64;

/// How a network runs under CKKS. Part of a bundle; its presence is the owner's leave to decrypt scores.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ckks {
    /// What no score exceeds for inputs like those that were seen: a power of two.
    pub logit_bound: f64,
    /// Root of the mean square of each layer's output before its square, by the layer's name, and of `input`, over what
    /// calibration saw.
    pub rms: BTreeMap<String, f64>,
    /// Sets of parameters by name: `balanced`, `fast`.
    pub presets: BTreeMap<String, Preset>,
}

/// One set of parameters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Preset {
    /// Dimension of the ring.
    pub n: usize,
    /// Widths of the chain's primes in bits: the first stays to the end.
    pub chain: Vec<u32>,
    /// Widths of the primes of key switching.
    pub special: Vec<u32>,
    /// Primes of a digit.
    pub alpha: usize,
    /// log2 of the scale of each layer's output.
    pub delta: Vec<u32>,
    /// log2 of the scale of each layer's weights, to a bit or so.
    pub omega: Vec<u32>,
    /// Width in bits of the four uniforms whose sum floods a coefficient of a reply.
    pub flood: u32,
    /// log2 of the flood over the predicted error, at least: 0 hides no weights.
    pub hiding: u32,
}

/// Where a layer stands.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Level {
    /// Primes of what it reads.
    pub level: usize,
    /// Primes that it drops.
    pub dropped: usize,
    /// The scale of its output.
    pub target: f64,
}

impl Ckks {
    /// The preset of a name.
    ///
    /// # Errors
    /// [`Error::Model`] naming those there are.
    pub fn preset(&self, model: &str, name: &str) -> Result<&Preset> {
        self.presets.get(name).ok_or_else(|| {
            let known: Vec<_> = self.presets.keys().map(String::as_str).collect();
            Error::Model(format!("{model}: found no ckks preset {name:?}, expected one of {}", known.join(", ")))
        })
    }

    pub(crate) fn check(&self, file: &str) -> Result<()> {
        let wrong = |what: String| Err(Error::Model(format!("{file}: ckks: {what}")));
        let bound = self.logit_bound;
        if !(1.0..=65536.0).contains(&bound) || bound.log2().fract() != 0.0 {
            return wrong(format!("logit_bound: found {bound}, expected a power of two from 1 to 65536"));
        }
        if let Some((name, rms)) = self.rms.iter().find(|(_, rms)| !rms.is_finite() || **rms <= 0.0) {
            return wrong(format!("rms: found {rms} for {name:?}, expected a positive number"));
        }
        if self.presets.is_empty() || self.presets.len() > 8 {
            return wrong(format!("presets: found {}, expected 1 to 8", self.presets.len()));
        }
        self.presets.iter().try_for_each(|(name, preset)| match preset.fault(bound) {
            Some(what) => wrong(format!("presets.{name}: {what}")),
            None => Ok(()),
        })
    }
}

impl Preset {
    /// What is wrong with it, for scores of so much at most.
    pub fn fault(&self, logit_bound: f64) -> Option<String> {
        let layers = self.delta.len();
        if !(1..=MAX_LAYERS).contains(&layers) || self.omega.len() != layers {
            let omega = self.omega.len();
            return Some(format!("delta and omega: found {layers} and {omega} numbers, expected one of each a layer"));
        }
        if !(2..=MAX_CHAIN).contains(&self.chain.len()) || self.special.is_empty() || self.special.len() > MAX_CHAIN {
            return Some(format!("chain and special: found {} and {} primes", self.chain.len(), self.special.len()));
        }
        if let Some(bits) = self.chain.iter().chain(&self.special).find(|bits| !(30..=60).contains(*bits)) {
            return Some(format!("chain: found a prime of {bits} bits, expected 30 to 60"));
        }
        if !(1024..=32768).contains(&self.n) || !self.n.is_power_of_two() || self.alpha == 0 {
            return Some(format!("n and alpha: found {} and {}, expected a ring's dimension", self.n, self.alpha));
        }
        if !(1..=60).contains(&self.flood) || self.hiding > 60 {
            let Self { flood, hiding, .. } = self;
            return Some(format!("flood and hiding: found {flood} and {hiding}, expected 1 to 60 and 0 to 60"));
        }
        let drops = match self.drops() {
            Ok(drops) => drops,
            Err(what) => return Some(what),
        };
        let left = self.chain.len() - drops.iter().sum::<usize>();
        if left != 1 {
            return Some(format!("chain: found {left} primes left after the last layer, expected 1"));
        }
        let (last, first) = (f64::from(self.delta[layers - 1]) + logit_bound.log2(), f64::from(self.chain[0]) - 2.0);
        if last.max(f64::from(self.flood + 1)) > first {
            return Some(format!(
                "delta: found scores of {last} and a flood of {} bits, expected at most {first}, which the first prime holds",
                self.flood + 1
            ));
        }
        None
    }

    /// Primes that each layer drops: as many as leave its weights nearest the scale that is said.
    fn drops(&self) -> std::result::Result<Vec<usize>, String> {
        let (mut level, mut drops) = (self.chain.len(), Vec::new());
        for (i, (&delta, &omega)) in self.delta.iter().zip(&self.omega).enumerate() {
            let bits = |r: usize| i64::from(self.chain[level - r..level].iter().sum::<u32>());
            let far = |r: usize| {
                let source = if i == 0 { 0 } else { 2 * i64::from(self.delta[i - 1]) };
                (i64::from(delta) + bits(r) - source - i64::from(omega)).abs()
            };
            let dropped = match i {
                0 => 1,
                _ => (1..level).min_by_key(|&r| far(r)).unwrap_or(1),
            };
            if dropped >= level {
                return Err(format!("chain: found no prime left for layer {i}"));
            }
            if i > 0 && far(dropped) > 1 {
                let found = i64::from(delta) + bits(dropped) - 2 * i64::from(self.delta[i - 1]);
                return Err(format!(
                    "omega: found {omega} for layer {i}, expected {found}, which delta and chain leave"
                ));
            }
            if i == 0 && !(20..=MAX_FRESH).contains(&(i64::from(delta) + bits(1) - i64::from(omega))) {
                return Err(format!("omega: found {omega} for layer 0, expected what leaves inputs 20 to 60 bits"));
            }
            level -= dropped;
            drops.push(dropped);
        }
        Ok(drops)
    }

    /// The scale of what a client encrypts.
    pub fn fresh(&self) -> f64 {
        let last = self.chain.last().copied().unwrap_or(0);
        (f64::from(self.delta[0]) + f64::from(last) - f64::from(self.omega[0])).exp2()
    }

    /// Where each layer of a network stands.
    ///
    /// # Errors
    /// [`Error::Model`] for another number of layers.
    pub fn levels(&self, layers: usize) -> Result<Vec<Level>> {
        if layers != self.delta.len() {
            let found = self.delta.len();
            return Err(Error::Model(format!(
                "ckks: found scales for {found} layers, expected {layers}, as the graph has"
            )));
        }
        let drops = self.drops().map_err(|what| Error::Model(format!("ckks: {what}")))?;
        let mut level = self.chain.len();
        let each = drops.into_iter().zip(&self.delta).map(|(dropped, &delta)| {
            let this = Level { level, dropped, target: f64::from(delta).exp2() };
            level -= dropped;
            this
        });
        Ok(each.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fast() -> Preset {
        Preset {
            n: 16384,
            chain: [vec![46], vec![48; 6]].concat(),
            special: vec![48; 2],
            alpha: 2,
            delta: vec![26, 26, 26, 26, 26, 34],
            omega: vec![28, 22, 22, 22, 22, 30],
            flood: 18,
            hiding: 0,
        }
    }

    fn balanced() -> Preset {
        Preset {
            n: 32768,
            chain: vec![50; 12],
            special: vec![50; 5],
            alpha: 5,
            delta: vec![55, 55, 55, 55, 50, 40],
            omega: vec![45, 45, 45, 45, 40, 40],
            flood: 40,
            hiding: 20,
        }
    }

    #[test]
    fn a_square_and_the_layer_after_it_share_primes() {
        let levels = |p: &Preset| p.levels(6).unwrap().iter().map(|l| [l.level, l.dropped]).collect::<Vec<_>>();
        assert_eq!(levels(&fast()), [[7, 1], [6, 1], [5, 1], [4, 1], [3, 1], [2, 1]]);
        assert_eq!(levels(&balanced()), [[12, 1], [11, 2], [9, 2], [7, 2], [5, 2], [3, 2]]);
        assert_eq!((fast().fresh(), balanced().fresh()), (46f64.exp2(), 60f64.exp2()));
        assert!(fast().levels(5).unwrap_err().to_string().contains("scales for 6 layers, expected 5"));
    }

    #[test]
    fn scales_that_do_not_meet_are_refused() {
        let fault = |change: &dyn Fn(&mut Preset)| {
            let mut preset = fast();
            change(&mut preset);
            let ckks = Ckks {
                logit_bound: 32.0,
                rms: [("input".to_owned(), 1.0)].into(),
                presets: [("fast".to_owned(), preset)].into(),
            };
            ckks.check("m").err().map(|e| e.to_string())
        };
        assert_eq!(fault(&|_| ()), None);
        for (change, what) in [
            (&(|p: &mut Preset| p.omega[2] = 26) as &dyn Fn(&mut Preset), "expected 22"),
            (&|p| p.omega.truncate(5), "one of each a layer"),
            (&|p| p.chain.push(48), "2 primes left"),
            (&|p| p.chain.truncate(6), "no prime left"),
            (&|p| p.chain[3] = 61, "a prime of 61 bits"),
            (&|p| p.delta[5] = 42, "expected"),
            (&|p| p.flood = 50, "the first prime holds"),
            (&|p| p.n = 1000, "ring's dimension"),
        ] {
            let found = fault(change).expect(what);
            assert!(found.contains(what) && found.starts_with("model: m: ckks: presets.fast"), "{found}");
        }
    }
}
