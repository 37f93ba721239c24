//! Activations piece by piece, in integers: which polynomial holds between which thresholds.
//!
//! A value x at g fraction bits becomes, on the piece that it lies on, either a + b·x with b of 0 or ±1 (*whole*: exact
//! at x's own scale) or floor((a + b·x + c·x^2) / 2^shift) with coefficients of `e` fraction bits.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::format::graph;

/// The most pieces of one activation.
pub const MAX_PIECES: usize = 64;
/// The most fraction bits of a coefficient.
const MAX_COEFFICIENT_BITS: u32 = 10;
/// |polynomial| < 2^30 - 2^shift on its piece, so that what is taken off afterwards is right.
const RANGE: i64 = 1 << 30;

/// An activation of integers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pieces {
    /// In the order of the line, without gaps; what is zero is left out.
    pub pieces: Vec<Piece>,
    /// Taken off the polynomials of pieces that aren't whole.
    pub shift: u32,
}

/// a + b·x + c·x^2 for lo <= x < hi.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Piece {
    /// None for minus infinity.
    pub lo: Option<i32>,
    /// None for plus infinity.
    pub hi: Option<i32>,
    /// The constant.
    pub a: i32,
    /// Of x.
    pub b: i32,
    /// Of x^2.
    pub c: i32,
    /// At x's scale as it is: nothing is taken off.
    pub whole: bool,
}

impl Piece {
    /// The polynomial.
    pub fn at(&self, x: i64) -> i64 {
        i64::from(self.a) + x * (i64::from(self.b) + x * i64::from(self.c))
    }

    /// Whether x lies on it.
    pub fn holds(&self, x: i64) -> bool {
        self.lo.is_none_or(|lo| x >= i64::from(lo)) && self.hi.is_none_or(|hi| x < i64::from(hi))
    }

    /// The highest power of x.
    pub fn degree(&self) -> u32 {
        if self.c != 0 { 2 } else { u32::from(self.b != 0) }
    }
}

impl Pieces {
    /// max(x, 0).
    pub fn relu() -> Self {
        Self { pieces: vec![Piece { lo: Some(0), hi: None, a: 0, b: 1, c: 0, whole: true }], shift: 0 }
    }

    /// x^2 / 2^shift.
    pub fn square(shift: u32) -> Self {
        Self { pieces: vec![Piece { lo: None, hi: None, a: 0, b: 0, c: 1, whole: false }], shift }
    }

    /// The pieces of real numbers at a scale of `g` fraction bits, for |x| < `limit`.
    ///
    /// # Errors
    /// [`Error::Model`] that names the layer: a scale that the pieces can't have.
    pub fn new(layer: &str, real: &[graph::Piece], g: i32, limit: i64) -> Result<Self> {
        let wrong = |found: i32, expected: String| {
            Err(Error::Model(format!("layer {layer:?}: scale_bits: found {found}, expected {expected}")))
        };
        let Ok(scale) = u32::try_from(g) else { return wrong(g, "0 or more before an activation in pieces".into()) };
        let e = coefficient_bits(real);
        let quadratic = real.iter().any(|p| p.a != 0.0);
        let fine = scale + e + if quadratic { scale } else { 0 };
        let shift = fine - scale;
        let integer = |v: f64, bits: u32| -> Option<i32> {
            let scaled = (v * 2f64.powi(bits as i32)).round();
            (scaled.abs() < 2f64.powi(31)).then_some(scaled as i32)
        };
        let threshold = |t: Option<f64>| match t {
            None => Some(None),
            Some(t) => integer(t, scale).map(Some),
        };
        let mut pieces = Vec::new();
        for p in real.iter().filter(|p| (p.a, p.b, p.c) != (0.0, 0.0, 0.0)) {
            let whole = is_whole(p);
            let coefficients = if whole {
                integer(p.c, scale).map(|a| [a, p.b as i32, 0])
            } else {
                let b = integer(p.b, e + if quadratic { scale } else { 0 });
                integer(p.c, fine).zip(b).zip(integer(p.a, e)).map(|((a, b), c)| [a, b, c])
            };
            let piece = coefficients.zip(threshold(p.lo)).zip(threshold(p.hi)).map(|(([a, b, c], lo), hi)| Piece {
                lo,
                hi,
                a,
                b,
                c,
                whole,
            });
            match piece {
                Some(piece) if piece.whole || piece.fits(limit, shift) => pieces.push(piece),
                _ => return wrong(g, "less: a polynomial of its activation would leave 30 bits".into()),
            }
        }
        Ok(Self { pieces, shift: if pieces_are_whole(real) { 0 } else { shift } })
    }

    /// The largest scale up to `g` at which real pieces fit, for values below `max_abs`.
    pub fn largest_scale(real: &[graph::Piece], g: i32, max_abs: f64) -> i32 {
        let fits = |g: &i32| {
            let limit = (max_abs * 2f64.powi(*g)).ceil().max(1.0) as i64 + 1;
            Self::new("", real, *g, limit).is_ok()
        };
        (0..=g.max(0)).rev().find(fits).unwrap_or(0)
    }

    /// The value of one integer, without what a secure run rounds otherwise.
    pub fn apply(&self, x: i64) -> i64 {
        let on = self.pieces.iter().filter(|p| p.holds(x));
        on.map(|p| if p.whole { p.at(x) } else { p.at(x) >> self.shift }).sum()
    }

    /// All thresholds, rising, each once.
    pub fn thresholds(&self) -> Vec<i32> {
        let mut all: Vec<i32> = self.pieces.iter().flat_map(|p| [p.lo, p.hi]).flatten().collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    /// Whether a peer's pieces can be computed, for |x| < `limit`.
    pub fn is_sound(&self, limit: i64) -> bool {
        let ordered = |p: &Piece| p.lo.zip(p.hi).is_none_or(|(lo, hi)| lo < hi);
        let apart = |pair: &[Piece]| pair[0].hi.zip(pair[1].lo).is_some_and(|(hi, lo)| hi <= lo);
        let possible = |p: &Piece| match p.whole {
            true => p.c == 0 && matches!(p.b, -1..=1),
            false => p.fits(limit, self.shift),
        };
        (1..=MAX_PIECES).contains(&self.pieces.len())
            && self.shift <= 28
            && self.pieces.iter().all(|p| ordered(p) && possible(p))
            && self.pieces.windows(2).all(apart)
    }
}

impl Piece {
    /// Whether the polynomial stays in range on the piece, also one unit beside it.
    fn fits(&self, limit: i64, shift: u32) -> bool {
        let limit = limit.clamp(1, 1 << 31);
        let lo = self.lo.map_or(-limit, i64::from).max(-limit) - 1;
        let hi = self.hi.map_or(limit, i64::from).min(limit) + 1;
        let (a, b, c) = (i128::from(self.a), i128::from(self.b), i128::from(self.c));
        let top = if c == 0 { lo.into() } else { (-b / (2 * c)).clamp(lo.into(), hi.into()) };
        let value = |x: i128| (a + x * (b + x * c)).abs();
        let points = [i128::from(lo), i128::from(hi), top, top - 1, top + 1];
        shift < 30 && points.into_iter().all(|x| value(x) < i128::from(RANGE - (1 << shift)))
    }
}

fn is_whole(p: &graph::Piece) -> bool {
    p.a == 0.0 && [0.0, 1.0, -1.0].contains(&p.b)
}

fn pieces_are_whole(real: &[graph::Piece]) -> bool {
    real.iter().all(is_whole)
}

/// The fewest fraction bits that hold the coefficients of pieces that aren't whole, or the most there may be.
fn coefficient_bits(real: &[graph::Piece]) -> u32 {
    let exact = |e: u32, v: f64| (v * f64::from(1 << e)).fract() == 0.0;
    let all = |e: &u32| real.iter().filter(|p| !is_whole(p)).all(|p| exact(*e, p.a) && exact(*e, p.b));
    (0..MAX_COEFFICIENT_BITS).find(all).unwrap_or(MAX_COEFFICIENT_BITS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::graph::Function;

    #[test]
    fn named_activations_have_the_bits_of_their_coefficients() {
        for (function, e, quadratic) in [
            (Function::Relu6, 0, false),
            (Function::Binary, 0, false),
            (Function::SigmoidPlan2, 5, true),
            (Function::SigmoidLogsqnl, 3, true),
            (Function::TanhSqnl, 2, true),
            (Function::TanhPla, 10, true),
            (Function::EluSqlu, 2, true),
        ] {
            let real = function.pieces(0.01).expect("in pieces");
            assert_eq!(coefficient_bits(&real), e, "{function:?}");
            let g = if function == Function::TanhPla { 10 } else { 12 };
            let pieces = Pieces::new("a", &real, g, 1 << (30 - g)).expect("in range");
            assert_eq!(pieces.shift, if quadratic { g as u32 + e } else { 0 });
            assert!(pieces.is_sound(1 << (30 - g)));
        }
        let leaky = Function::LeakyRelu.pieces(0.01).expect("in pieces");
        assert_eq!(Pieces::new("a", &leaky, 12, 1 << 18).expect("in range").shift, 10);
        let pla = Function::TanhPla.pieces(0.0).expect("in pieces");
        assert!(Pieces::new("a", &pla, 12, 1 << 18).is_err());
        assert_eq!(Pieces::largest_scale(&pla, 14, 8.0), 10);
    }

    #[test]
    fn integers_follow_the_real_pieces() {
        for function in Function::IN_PIECES {
            let real = function.pieces(0.25).expect("in pieces");
            let g = Pieces::largest_scale(&real, 12, 8.0);
            let pieces = Pieces::new("a", &real, g, 8 << g).expect("in range");
            for x in (-8 << g)..(8 << g) {
                let at = f64::from(x) / f64::from(1 << g);
                let piece = real.iter().find(|p| {
                    let at_scale = |t: f64| (t * f64::from(1 << g)).round();
                    p.lo.is_none_or(|lo| f64::from(x) >= at_scale(lo))
                        && p.hi.is_none_or(|hi| f64::from(x) < at_scale(hi))
                });
                let p = piece.expect("no gaps");
                let wanted = p.c + at * (p.b + at * p.a);
                let found = pieces.apply(i64::from(x)) as f64 / f64::from(1 << g);
                // The floor takes a unit; beside it every coefficient that its bits don't hold is half of their last one off.
                let half = |v: f64, bits: i32| {
                    if (v * 2f64.powi(bits)).fract() == 0.0 { 0.0 } else { 0.5 * 2f64.powi(g - bits) }
                };
                let (e, of_constant) = (MAX_COEFFICIENT_BITS as i32, if is_whole(p) { g } else { 2 * g });
                let rounded = half(p.a, e) * at * at + half(p.b, e + g) * at.abs() + half(p.c, of_constant);
                let bound = (1.0 + rounded) / f64::from(1 << g);
                assert!((found - wanted).abs() < bound, "{function:?} at {at}: {found}, {wanted}");
            }
        }
    }
}
