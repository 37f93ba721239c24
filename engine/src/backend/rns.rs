//! Between bases.

use super::*;
use crate::ring::Conversion;

/// Between bases.
pub(crate) trait Rns: Transform {
    /// Coefficient domain: the residues modulo the primes of `to` of the representative nearest zero, as
    /// [`Conversion`](crate::ring::Conversion) defines it. `t` is of the view's primes, `shape` that of the result.
    fn mod_up(
        &self,
        t: &Self::Tables,
        to: &Self::Tables,
        shape: Shape,
        from: Limbs<'_, Self::Buffer>,
    ) -> Result<Self::Buffer>;

    /// Coefficient domain: divides by the product D of all primes but the first `kept`, rounding, in the limbs of
    /// those: `(x_l - [x]) / D mod q_l`, with `[x]` what [`Self::mod_up`] makes of the other limbs. `shape` is that of
    /// the buffer.
    fn mod_down(&self, t: &Self::Tables, shape: Shape, kept: usize, buffer: Self::Buffer) -> Result<Self::Buffer>;

    /// Points in rows, of one polynomial or with one digit: the limbs of `x` in `digits`, which are of the basis of `t`, for
    /// each the points of what [`Self::mod_up`] makes of it. `shape` is that of the result.
    fn mod_up_points(
        &self,
        t: &Self::Tables,
        to: &Self::Tables,
        shape: Shape,
        InDigits { basis, digit }: InDigits<'_>,
        x: &Self::Buffer,
    ) -> Result<Self::Buffer> {
        let digits = basis.digits(digit);
        let (batch, limbs) = (shape.batch / digits.len(), basis.len());
        let one = Shape { batch, ..shape };
        let coefficients = self.ntt_inverse_rows(t, Shape { batch, limbs, n: shape.n }, self.duplicate(x)?)?;
        let lift = |digit: &Basis| {
            let map = basis.positions(digit)?;
            self.mod_up(&self.tables(digit)?, to, one, Limbs { buffer: &coefficients, limbs, map: &map })
        };
        let parts = digits.iter().map(lift).collect::<Result<Vec<_>>>()?;
        let counts = vec![batch; parts.len()];
        let all = self.stack(to, shape, Domain::Coeff, &parts.iter().collect::<Vec<_>>(), &counts)?;
        self.ntt_forward_rows(to, shape, all)
    }

    /// [`Self::mod_down`] of points in rows. `basis` is that of `t`.
    fn mod_down_points(
        &self,
        t: &Self::Tables,
        basis: &Basis,
        shape: Shape,
        kept: usize,
        x: &Self::Buffer,
    ) -> Result<Self::Buffer> {
        let (dropped, basis) = (basis.range(kept..shape.limbs)?, basis.level(kept)?);
        let (rest, target) = (Shape { limbs: dropped.len(), ..shape }, Shape { limbs: kept, ..shape });
        let (from, to) = (self.tables(&dropped)?, self.tables(&basis)?);
        let map: Vec<usize> = (0..shape.limbs).collect();
        let view = |map| Limbs { buffer: x, limbs: shape.limbs, map };
        let coefficients = self.limbs(&from, rest, Domain::Rows, view(&map[kept..]))?;
        let coefficients = self.ntt_inverse_rows(&from, rest, coefficients)?;
        let (buffer, limbs) = (&coefficients, rest.limbs);
        let converted = self.mod_up(&from, &to, target, Limbs { buffer, limbs, map: &map[..limbs] })?;
        let converted = self.ntt_forward_rows(&to, target, converted)?;
        let mut quotient = self.limbs(t, target, Domain::Rows, view(&map[..kept]))?;
        self.sub_assign(&to, target, &mut quotient, &converted)?;
        let inverses = Conversion::new(&dropped, &basis)?;
        let inverses: Vec<u64> = inverses.quotients().iter().map(|q| q.value).collect();
        self.mul_scalar_assign(&to, target, &mut quotient, &inverses)?;
        Ok(quotient)
    }
}
