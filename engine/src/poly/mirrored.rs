//! Sums of products with polynomials of mirrored coefficients, where a device has a way of its own.

use super::*;
use crate::backend::{MirroredSums, Run};

impl PolyBatch<Rows> {
    /// For each row and each job of `sums` two polynomials. None where the device has no way of its own.
    ///
    /// # Errors
    /// [`Error::Shape`] for other numbers than there are and for sources that are not two polynomials each over the
    /// basis; [`Error::DeviceMismatch`].
    pub(crate) fn sums_of_mirrored(
        device: &Device,
        basis: &Basis,
        sums: &MirroredSums<'_>,
        sources: &[&Self],
    ) -> Result<Option<Vec<Self>>> {
        let tables = Arc::new(device.tables(basis)?);
        if let Some(x) = sources.iter().find(|x| !x.device.same(device)) {
            return Err(Error::DeviceMismatch(format!("{:?} and {device:?}", x.device)));
        }
        let parts = 1..=MirroredSums::MOST_PARTS;
        let whole =
            |plain: &&[Vec<i32>]| parts.contains(&plain.len()) && plain.iter().all(|part| 2 * part.len() == basis.n());
        let below = |most: usize| move |i: &Option<usize>| i.is_none_or(|i| i < most);
        let (terms, jobs) = (sums.sources.len(), sums.jobs);
        if sources.iter().any(|x| x.batch != 2 || x.basis != *basis)
            || !sums.plains.iter().all(whole)
            || sums.sources.iter().any(|of| of.len() != jobs || !of.iter().all(below(sources.len())))
            || sums.rows.iter().any(|row| row.len() != terms || !row.iter().all(below(sums.plains.len())))
        {
            return Err(Error::Shape("sums of other plaintexts or sources than there are".to_owned()));
        }
        let buffers: Vec<_> = sources.iter().map(|x| &x.buffer).collect();
        let made = device.sums_of_mirrored(&tables, sums, &buffers);
        let batch = |buffer| PolyBatch {
            device: device.clone(),
            basis: basis.clone(),
            tables: tables.clone(),
            batch: 2,
            buffer,
            domain: PhantomData,
        };
        Ok(made.map(|made| made.into_iter().map(batch).collect()))
    }
}
