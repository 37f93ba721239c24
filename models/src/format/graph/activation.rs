//! Activations by name or piece by piece. The format has more of them than can be computed yet: those are checked all
//! the same, and refused by name.

use serde::{Deserialize, Serialize};

/// The most pieces of one activation.
const MAX_PIECES: usize = 64;

/// A function of each element: named, or polynomials on pieces of the line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Activation {
    /// Its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub function: Option<Function>,
    /// What `leaky_relu` (a number) and `prelu` (a tensor, one number a channel) multiply negative values by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slope: Option<Slope>,
    /// In the place of a name: pieces that follow one another from minus to plus infinity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pieces: Option<Vec<Piece>>,
}

/// Functions by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Function {
    /// max(x, 0).
    Relu,
    /// min(max(x, 0), 6).
    Relu6,
    /// x, and slope·x for negative x.
    LeakyRelu,
    /// The same with a slope a channel.
    Prelu,
    /// 1 for x >= 0, else 0.
    Binary,
    /// The logistic function by parabolas on |x| < 4: 1/2 + x/4 ∓ x^2/32.
    SigmoidPlan2,
    /// The logistic function by parabolas on |x| < 2: 1/2 + x/2 ∓ x^2/8.
    SigmoidLogsqnl,
    /// The hyperbolic tangent by two parabolas on each side, of |x| < 2.57.
    TanhPla,
    /// The hyperbolic tangent by parabolas on |x| < 2: x ∓ x^2/4.
    TanhSqnl,
    /// The exponential linear unit by a parabola: x + x^2/4 on -2 <= x < 0, -1 below.
    EluSqlu,
}

/// What negative values are multiplied by.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged, expecting = "expected slope to be a number or the name of a tensor")]
pub enum Slope {
    /// The same for all channels.
    Number(f64),
    /// A tensor of the weights file, `[channels]`.
    Tensor(String),
}

/// a·x^2 + b·x + c for lo <= x < hi.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Piece {
    /// None for minus infinity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lo: Option<f64>,
    /// None for plus infinity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hi: Option<f64>,
    /// Of x^2.
    pub a: f64,
    /// Of x.
    pub b: f64,
    /// The constant.
    pub c: f64,
}

impl Piece {
    /// Whether x lies on it.
    pub fn holds(&self, x: f64) -> bool {
        self.lo.is_none_or(|lo| x >= lo) && self.hi.is_none_or(|hi| x < hi)
    }

    /// Its polynomial.
    pub fn at(&self, x: f64) -> f64 {
        self.c + x * (self.b + x * self.a)
    }
}

impl Function {
    /// Those that [`Self::pieces`] has.
    pub const IN_PIECES: [Self; 9] = [
        Self::Relu,
        Self::Relu6,
        Self::LeakyRelu,
        Self::Binary,
        Self::SigmoidPlan2,
        Self::SigmoidLogsqnl,
        Self::TanhPla,
        Self::TanhSqnl,
        Self::EluSqlu,
    ];

    /// Its pieces, from minus to plus infinity; none for `prelu`, whose slope differs from channel to channel. `slope`
    /// is `leaky_relu`'s.
    pub fn pieces(self, slope: f64) -> Option<Vec<Piece>> {
        let piece = |lo: Option<f64>, hi: Option<f64>, [c, b, a]: [f64; 3]| Piece { lo, hi, a, b, c };
        // Between minus infinity, these ends, and plus infinity.
        let line = |ends: &[f64], polynomials: &[[f64; 3]]| {
            let end = |at: usize| ends.get(at).copied();
            let of = |(at, p): (usize, &[f64; 3])| piece(at.checked_sub(1).and_then(end), end(at), *p);
            polynomials.iter().enumerate().map(of).collect()
        };
        let (zero, one, x) = ([0.0; 3], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]);
        Some(match self {
            Self::Prelu => return None,
            Self::Relu => line(&[0.0], &[zero, x]),
            Self::Relu6 => line(&[0.0, 6.0], &[zero, x, [6.0, 0.0, 0.0]]),
            Self::LeakyRelu => line(&[0.0], &[[0.0, slope, 0.0], x]),
            Self::Binary => line(&[0.0], &[zero, one]),
            Self::SigmoidPlan2 => {
                line(&[-4.0, 0.0, 4.0], &[zero, [0.5, 0.25, 1.0 / 32.0], [0.5, 0.25, -1.0 / 32.0], one])
            }
            Self::SigmoidLogsqnl => line(&[-2.0, 0.0, 2.0], &[zero, [0.5, 0.5, 0.125], [0.5, 0.5, -0.125], one]),
            Self::TanhSqnl => line(&[-2.0, 0.0, 2.0], &[[-1.0, 0.0, 0.0], [0.0, 1.0, 0.25], [0.0, 1.0, -0.25], one]),
            Self::EluSqlu => line(&[-2.0, 0.0], &[[-1.0, 0.0, 0.0], [0.0, 1.0, 0.25], x]),
            // As published it is not odd: the coefficient of the inner parabola is 34/125.
            Self::TanhPla => line(
                &[-2.57, -1.52, 0.0, 1.52, 2.57],
                &[
                    [-1.0, 0.0, 0.0],
                    [-0.45, 0.425, 1.0 / 12.0],
                    [-0.016, 1.0, 0.272],
                    [0.016, 1.0, -0.272],
                    [0.45, 0.425, -1.0 / 12.0],
                    one,
                ],
            ),
        })
    }

    /// Its name in JSON.
    pub(crate) fn name(self) -> String {
        serde_json::to_value(self).ok().and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default()
    }
}

impl Activation {
    /// What is wrong: the field, what was found and what was expected.
    pub(super) fn fault(&self) -> Option<(&'static str, String, String)> {
        let fault = |field, found: String, expected: &str| Some((field, found, expected.to_owned()));
        match (self.function, &self.pieces) {
            (Some(function), None) => {
                let (fits, expected) = match function {
                    Function::LeakyRelu => (matches!(self.slope, Some(Slope::Number(_))), "a number"),
                    Function::Prelu => (matches!(self.slope, Some(Slope::Tensor(_))), "the name of a tensor"),
                    _ => (self.slope.is_none(), "none"),
                };
                let found = match &self.slope {
                    None => "none".to_owned(),
                    Some(Slope::Number(number)) => number.to_string(),
                    Some(Slope::Tensor(name)) => format!("{name:?}"),
                };
                if fits { None } else { fault("slope", found, &format!("{expected} for {}", function.name())) }
            }
            (None, Some(_)) if self.slope.is_some() => fault("slope", "one beside pieces".into(), "none"),
            (None, Some(pieces)) => {
                let count = pieces.len();
                if count == 0 || count > MAX_PIECES {
                    return fault("pieces", format!("{count}"), &format!("1 to {MAX_PIECES}"));
                }
                let meets = |pair: &[Piece]| pair[0].hi.is_some() && pair[0].hi == pair[1].lo;
                let rises = |p: &Piece| p.lo.zip(p.hi).is_none_or(|(lo, hi)| lo < hi);
                let ends = pieces[0].lo.is_none() && pieces[count - 1].hi.is_none();
                let good = ends && pieces.windows(2).all(meets) && pieces.iter().all(rises);
                let expected = "each to begin where the one before it ends, from no lo to no hi";
                if good { None } else { fault("pieces", "gaps between or around them".into(), expected) }
            }
            (Some(_), Some(_)) => fault("activation", "both function and pieces".into(), "one of them"),
            (None, None) => fault("activation", "neither function nor pieces".into(), "one of them"),
        }
    }
}
