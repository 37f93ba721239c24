//! Polynomials of ciphertexts, in the basis of Chebyshev's, by baby steps and giant steps.
//!
//! With p = q T_g + r, T_g the largest giant step, a polynomial falls into two of half its degree. Constants are
//! encoded at scales that are fixed from the root down, so that the result has exactly the scale that is asked for
//! (Bossuat, Mouchet, Troncoso-Pastoriza, Hubaux, 2021). A degree d takes ceil(log2(d + 1)) + 1 levels at most.

use std::collections::BTreeMap;
use std::f64::consts::PI;

use super::ciphertext::Ciphertext;
use super::evaluator::Evaluator;
use crate::error::{Error, Result};

/// sum c_i T_i((2 x - a - b) / (b - a)) on an interval \[a, b\].
#[derive(Clone, Debug, PartialEq)]
pub struct Polynomial {
    coefficients: Vec<f64>,
    interval: [f64; 2],
}

impl Polynomial {
    /// The polynomial of a degree that has a function's values at Chebyshev's nodes in the interval.
    ///
    /// # Errors
    /// [`Error::Parameters`] for degree 0 or beyond 1023, an empty interval, or values that are not finite.
    pub fn chebyshev(f: impl Fn(f64) -> f64, interval: [f64; 2], degree: usize) -> Result<Self> {
        let [a, b] = interval;
        let count = degree + 1;
        let node = |k: usize| (PI * (k as f64 + 0.5) / count as f64).cos();
        let values: Vec<f64> = (0..count).map(|k| f((node(k) * (b - a) + a + b) / 2.0)).collect();
        let coefficient = |i: usize| {
            let term = |(k, y): (usize, &f64)| y * (PI * i as f64 * (k as f64 + 0.5) / count as f64).cos();
            let sum: f64 = values.iter().enumerate().map(term).sum();
            sum * if i == 0 { 1.0 } else { 2.0 } / count as f64
        };
        Self::from_chebyshev((0..count).map(coefficient).collect(), interval)
    }

    /// Of given coefficients of Chebyshev's polynomials on an interval.
    ///
    /// # Errors
    /// Those of [`Self::chebyshev`].
    pub fn from_chebyshev(coefficients: Vec<f64>, interval: [f64; 2]) -> Result<Self> {
        let [a, b] = interval;
        let fits = (2..=1024).contains(&coefficients.len()) && coefficients.iter().all(|c| c.is_finite());
        if !fits || !a.is_finite() || !b.is_finite() || a >= b {
            return Err(Error::Parameters(format!(
                "a polynomial of {} finite coefficients on [{a}, {b}]: 2 to 1024 on a proper interval",
                coefficients.len()
            )));
        }
        Ok(Self { coefficients, interval })
    }

    /// c_0 + c_1 x + ... on \[-1, 1\].
    ///
    /// # Errors
    /// Those of [`Self::chebyshev`].
    pub fn monomial(coefficients: &[f64]) -> Result<Self> {
        // Horner's scheme: x T_k = (T_(k + 1) + T_|k - 1|) / 2.
        let mut sum = vec![0.0; coefficients.len()];
        for &c in coefficients.iter().rev() {
            let mut next = vec![0.0; coefficients.len()];
            for (k, &t) in sum.iter().enumerate().filter(|(_, t)| **t != 0.0) {
                next[k + 1] += if k == 0 { t } else { t / 2.0 };
                if k > 0 {
                    next[k - 1] += t / 2.0;
                }
            }
            next[0] += c;
            sum = next;
        }
        Self::from_chebyshev(sum, [-1.0, 1.0])
    }

    /// The degree.
    pub fn degree(&self) -> usize {
        self.coefficients.len() - 1
    }

    /// Its coefficients of Chebyshev's polynomials.
    pub fn coefficients(&self) -> &[f64] {
        &self.coefficients
    }

    /// Its value, by Clenshaw's recurrence.
    pub fn value(&self, x: f64) -> f64 {
        let [a, b] = self.interval;
        let y = (2.0 * x - a - b) / (b - a);
        let step = |(last, before): (f64, f64), c: &f64| (c + 2.0 * y * last - before, last);
        let (first, second) = self.coefficients[1..].iter().rev().fold((0.0, 0.0), step);
        self.coefficients[0] + y * first - second
    }

    /// Levels that it takes.
    pub fn levels(&self) -> usize {
        let baby = baby(self.degree());
        let depth = |i: usize| i.next_power_of_two().ilog2() as usize;
        fn cost(degree: usize, baby: usize, depth: &dyn Fn(usize) -> usize) -> usize {
            match giant(degree, baby) {
                None => depth(degree.max(1)) + 1,
                Some(g) => 1 + depth(g).max(cost(degree - g, baby, depth)).max(cost(g - 1, baby, depth) - 1),
            }
        }
        cost(self.degree(), baby, &depth)
    }
}

/// Baby steps are T_1 to T_baby: of a power of two, the one with the fewest products.
fn baby(degree: usize) -> usize {
    let products = |baby: usize| {
        let giants = (0..usize::BITS).map(|i| baby << i).take_while(|g| *g <= degree).count();
        fn splits(degree: usize, baby: usize) -> usize {
            giant(degree, baby).map_or(0, |g| 1 + splits(degree - g, baby) + splits(g - 1, baby))
        }
        baby - 1 + giants.saturating_sub(1) + splits(degree, baby)
    };
    (1..=10).map(|bits| 1 << bits).min_by_key(|&baby| products(baby)).expect("one at least")
}

/// The largest giant step up to a degree that is not reached by baby steps alone.
fn giant(degree: usize, baby: usize) -> Option<usize> {
    if degree < baby { None } else { Some(baby << (degree / baby).ilog2()) }
}

/// T_i of a ciphertext, made when they are asked for.
struct Powers<'a> {
    eval: &'a Evaluator,
    known: BTreeMap<usize, Ciphertext>,
}

impl Powers<'_> {
    fn ensure(&mut self, i: usize) -> Result<()> {
        if self.known.contains_key(&i) {
            return Ok(());
        }
        // T_(a + b) = 2 T_a T_b - T_(a - b), a - b being 0 or 1.
        let (a, b) = (i.div_ceil(2), i / 2);
        self.ensure(a)?;
        self.ensure(b)?;
        let (eval, level) = (self.eval, self.known[&a].level().min(self.known[&b].level()));
        let x = eval.drop_to(&self.known[&a], level)?;
        let product =
            if a == b { eval.square(&x)? } else { eval.multiply(&x, &eval.drop_to(&self.known[&b], level)?)? };
        // Times an integer that keeps scales just below the primes: powers of a smaller one would be ever smaller.
        let room = eval.params.basis().modulus(level - 1).value() as f64;
        let product = eval.mul_scalar(&product, 1.0, (room * room / product.scale).floor().max(1.0))?;
        let twice = eval.mul_integer(&product, 2)?;
        let difference = if a == b {
            eval.add_scalar(&twice, -1.0)?
        } else {
            let one = eval.drop_to(&self.known[&1], level)?;
            let mut one = eval.mul_scalar(&one, 1.0, twice.scale / one.scale)?;
            one.scale = twice.scale;
            eval.sub(&twice, &one)?
        };
        let mut power = eval.rescale(&difference)?;
        power.bound = 1.0;
        self.known.insert(i, power);
        Ok(())
    }

    /// The highest level that a polynomial of a degree can come out at.
    fn level(&self, degree: usize, baby: usize) -> usize {
        match giant(degree, baby) {
            None => (1..=degree.max(1)).map(|i| self.known[&i].level()).min().unwrap_or(0).saturating_sub(1),
            Some(g) => {
                let inner = self.known[&g].level().min(self.level(degree - g, baby)).saturating_sub(1);
                inner.min(self.level(g - 1, baby))
            }
        }
    }

    /// sum c_i T_i at a level and exactly a scale.
    fn evaluate(&self, c: &[f64], baby: usize, level: usize, scale: f64) -> Result<Ciphertext> {
        let (eval, basis) = (self.eval, self.eval.params.basis());
        let degree = c.len() - 1;
        let q = basis.modulus(level).value() as f64;
        let Some(g) = giant(degree, baby) else {
            let mut sum: Option<Ciphertext> = None;
            for (i, &c) in c.iter().enumerate().skip(1).filter(|(i, c)| **c != 0.0 || *i == 1) {
                let power = eval.drop_to(&self.known[&i], level + 1)?;
                let mut term = eval.mul_scalar(&power, c, scale * q / power.scale)?;
                term.scale = scale * q;
                sum = Some(match sum {
                    Some(sum) => eval.add(&sum, &term)?,
                    None => term,
                });
            }
            let sum = sum.ok_or_else(|| Error::Parameters("a polynomial of degree 0".to_owned()))?;
            let mut out = eval.rescale(&eval.add_scalar(&sum, c[0])?)?;
            out.scale = scale;
            return Ok(out);
        };
        // c_j T_j = 2 c_j T_g T_(j - g) - c_j T_|j - 2g|.
        let (mut low, mut high) = (c[..g].to_vec(), vec![0.0; degree - g + 1]);
        high[0] = c[g];
        for j in g + 1..=degree {
            high[j - g] += 2.0 * c[j];
            low[(2 * g).abs_diff(j)] -= c[j];
        }
        let power = eval.drop_to(&self.known[&g], level + 1)?;
        let factor = scale * q / power.scale;
        let product = match high[..] {
            [constant] => eval.mul_scalar(&power, constant, factor)?,
            _ => eval.multiply(&self.evaluate(&high, baby, level + 1, factor)?, &power)?,
        };
        let mut product = eval.rescale(&product)?;
        product.scale = scale;
        eval.add(&product, &self.evaluate(&low, baby, level, scale)?)
    }
}

impl Evaluator {
    /// p(x) of every value, at exactly the scale `target` and the highest level that there is for it. Values outside of
    /// the polynomial's interval come to anything. Where half the interval times the scale of x passes the primes, that
    /// takes one level more than [`Polynomial::levels`].
    ///
    /// # Errors
    /// [`Error::Parameters`] where the levels don't suffice, and without a key for products.
    pub fn polynomial(&self, x: &Ciphertext, p: &Polynomial, target: f64) -> Result<Ciphertext> {
        let (degree, [a, b]) = (p.degree(), p.interval);
        // 2 x / (b - a) is x at another scale, which costs no level unless it passes the primes.
        let mut y = x.duplicate()?;
        let factor = (b - a) / 2.0;
        (y.scale, y.bound, y.error, y.flood) = (x.scale * factor, 1.0, x.error / factor, x.flood / factor);
        let room = y.pair.basis().modulus(x.level() - 1).value() as f64;
        let wide = y.scale > 1.01 * room;
        if x.level() <= p.levels() + usize::from(wide) {
            return Err(Error::Parameters(format!(
                "a polynomial of degree {degree} takes {} levels{}, at level {}",
                p.levels(),
                if wide { " and one for the scale" } else { "" },
                x.level()
            )));
        }
        y = if wide {
            self.to_level_and_scale(&y, x.level() - 1, room)?
        } else {
            self.mul_scalar(&y, 1.0, (room / y.scale).floor().max(1.0))?
        };
        if a + b != 0.0 {
            y = self.add_scalar(&y, -(a + b) / (b - a))?;
            y.bound = 1.0;
        }
        let baby = baby(degree);
        let mut powers = Powers { eval: self, known: BTreeMap::from([(1, y)]) };
        for i in 2..baby.min(degree + 1) {
            powers.ensure(i)?;
        }
        let mut g = baby;
        while g <= degree {
            powers.ensure(g)?;
            g *= 2;
        }
        let level = powers.level(degree, baby);
        powers.evaluate(&p.coefficients, baby, level, target)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn degrees_take_the_levels_and_products_of_the_literature() {
        for (degree, levels) in [(7, 4), (15, 5), (31, 6), (63, 7), (1, 1), (2, 3), (3, 3), (5, 4)] {
            let p = Polynomial::from_chebyshev(vec![1.0; degree + 1], [-1.0, 1.0]).unwrap();
            assert!(p.levels() <= levels, "degree {degree}: {}", p.levels());
        }
    }

    #[test]
    fn values_are_those_of_the_function_and_of_the_monomials() {
        let p = Polynomial::chebyshev(f64::exp, [-2.0, 3.0], 20).unwrap();
        let q = Polynomial::monomial(&[1.0, -2.0, 0.5, 3.0]).unwrap();
        for x in [-1.0, -0.3, 0.0, 0.77, 1.0] {
            assert!((p.value(x) - x.exp()).abs() < 1e-10);
            assert!((q.value(x) - (1.0 - 2.0 * x + 0.5 * x * x + 3.0 * x * x * x)).abs() < 1e-14);
        }
        assert!(Polynomial::monomial(&[1.0]).is_err() && Polynomial::chebyshev(f64::ln, [-1.0, 1.0], 3).is_err());
        assert!(Polynomial::chebyshev(f64::exp, [1.0, 1.0], 3).is_err());
    }
}
