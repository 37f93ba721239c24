//! The weights' side of the products.

use std::ops::Range;

use blindvox_engine::rlwe::Ciphertexts;
use blindvox_engine::{Device, GemmShape, Ntt, PolyBatch};
use zeroize::Zeroizing;

use crate::error::Result;
use crate::linear::plan::{Method, Plan};

/// A layer's weights as its method multiplies by them.
pub(in crate::linear) enum Weights<'a> {
    /// Polynomials in the NTT domain, transformed for some output groups at a time, and kept where the plan says so.
    Polynomials { plan: &'a Plan, device: &'a Device, weights: &'a [i32], kept: Vec<Option<PolyBatch<Ntt>>> },
    /// `[out_groups, in_groups]`.
    Constants { inner: usize, weights: Zeroizing<Vec<i32>> },
}

impl<'a> Weights<'a> {
    /// Of `[outputs][inputs][taps]`, to be multiplied in so many steps.
    pub(in crate::linear) fn new(plan: &'a Plan, device: &'a Device, weights: &'a [i32], steps: usize) -> Self {
        match plan.method() {
            Method::Coefficients(_) => {
                Self::Polynomials { plan, device, weights, kept: (0..steps).map(|_| None).collect() }
            }
            Method::Constants(encoding) => {
                let mut constants = Zeroizing::new(Vec::with_capacity(encoding.out_groups() * encoding.in_groups()));
                constants.extend(encoding.constants(weights, 0..encoding.out_groups()));
                Self::Constants { inner: encoding.in_groups(), weights: constants }
            }
        }
    }

    /// The products of output groups `rows`, which are step `step`, with inputs `[in_groups, cols]`: `[rows, cols]`.
    pub(in crate::linear) fn multiply(
        &mut self,
        step: usize,
        rows: Range<usize>,
        x: &Ciphertexts,
        cols: usize,
    ) -> Result<Ciphertexts> {
        let x = [&x.c0, &x.c1];
        let [c0, c1] = match self {
            Self::Constants { inner, weights } => {
                let size = GemmShape { rows: rows.len(), inner: *inner, cols };
                PolyBatch::gemm_constants(&weights[rows.start * size.inner..rows.end * size.inner], x, size)?
            }
            Self::Polynomials { plan, device, weights, kept } => {
                let size = GemmShape { rows: rows.len(), inner: plan.encoding().in_groups(), cols };
                let fresh = match kept[step].take() {
                    Some(kept) => kept,
                    None => transform(plan, device, weights, rows)?,
                };
                let products = fresh.gemm(x, size)?;
                if plan.keeps_weights() {
                    kept[step] = Some(fresh);
                }
                products
            }
        };
        Ok(Ciphertexts { c0, c1 })
    }
}

/// `[rows, in_groups]`.
fn transform(plan: &Plan, device: &Device, weights: &[i32], rows: Range<usize>) -> Result<PolyBatch<Ntt>> {
    let (encoding, basis) = (plan.encoding(), plan.params().basis());
    let (groups, n) = (encoding.in_groups(), basis.n());
    Ok(PolyBatch::from_parts(device, basis, rows.len() * groups, |part| {
        let mut polys = Zeroizing::new(vec![0i32; part.len() * n]);
        for (poly, i) in polys.chunks_exact_mut(n).zip(part) {
            encoding.encode_weights(weights, rows.start + i / groups, i % groups, poly);
        }
        PolyBatch::lift(device, basis, &polys, &vec![1; basis.len()])
    })?)
}
