//! Batches between coefficients and points, which lie in panels or in rows.
//!
//! Rows are transformed where they are and never leave their core's cache; panels are what matrix products read, and
//! take a second pass over memory. A row's points are in the order of panels either way, so that between the two they
//! are only moved.

use std::ops::Range;

use rayon::prelude::*;

use super::buffer::{CpuBuffer, Layout};
use super::panels::{Order, Panels};
use super::to_panels::{SERIAL_WORDS, write_polys};
use super::{Cpu, CpuTables, for_each_chunk, groups};
use crate::backend::{Part, Shape, Transform, parts};
use crate::error::Result;

impl Transform for Cpu {
    fn ntt_forward(&self, t: &CpuTables, shape: Shape, mut buffer: CpuBuffer) -> Result<CpuBuffer> {
        if shape.batch == 1 {
            // Panels of one polynomial are its rows.
            buffer.layout = Layout::Panels;
            for_each_chunk(buffer.words_mut(), shape.n, |limb, a| t.limbs[limb].forward(a, Order::Panel));
            return Ok(buffer);
        }
        let mut out = CpuBuffer::new(shape.words(), Layout::Panels);
        let panels = Panels::new(out.words_mut(), shape);
        let group = groups::size(shape);
        for_each_chunk(buffer.words_mut(), group * shape.limbs * shape.n, |i, rows| {
            // SAFETY: each group is taken once.
            unsafe { t.forward_to(&panels, i * group, rows) };
        });
        Ok(out)
    }

    fn ntt_forward_parts(&self, t: &CpuTables, shape: Shape, part: Part<'_, CpuBuffer>) -> Result<CpuBuffer> {
        let Shape { batch, limbs, n } = shape;
        let mut out = CpuBuffer::new(shape.words(), Layout::Panels);
        let panels = Panels::new(out.words_mut(), shape);
        // As many as are not worth other threads: parts run beside each other.
        let grain = (SERIAL_WORDS / (limbs * n)).max(1);
        let groups: Vec<_> = parts(batch, groups::size(shape)).collect();
        let one = |group: Range<usize>| {
            let mut rows = CpuBuffer::new(group.len() * limbs * n, Layout::Rows);
            for range in parts(group.len(), grain) {
                let made = part(group.start + range.start..group.start + range.end)?;
                rows.words_mut()[range.start * limbs * n..range.end * limbs * n].copy_from_slice(made.words());
            }
            // SAFETY: each group is taken once.
            unsafe { t.forward_to(&panels, group.start, rows.words_mut()) };
            Ok(())
        };
        groups.into_par_iter().try_for_each(one)?;
        Ok(out)
    }

    fn ntt_inverse(&self, t: &CpuTables, shape: Shape, mut buffer: CpuBuffer) -> Result<CpuBuffer> {
        if shape.batch == 1 {
            buffer.layout = Layout::Rows;
            for_each_chunk(buffer.words_mut(), shape.n, |limb, a| t.limbs[limb].inverse(a, Order::Panel));
            return Ok(buffer);
        }
        Ok(from_panels(shape, &buffer, |limb, row| t.limbs[limb].inverse(row, Order::Panel)))
    }

    fn ntt_forward_rows(&self, t: &CpuTables, shape: Shape, mut buffer: CpuBuffer) -> Result<CpuBuffer> {
        buffer.layout = Layout::Rows;
        for_each_chunk(buffer.words_mut(), shape.n, |row, a| t.limbs[row % shape.limbs].forward(a, Order::Panel));
        Ok(buffer)
    }

    fn ntt_inverse_rows(&self, t: &CpuTables, shape: Shape, mut buffer: CpuBuffer) -> Result<CpuBuffer> {
        buffer.layout = Layout::Rows;
        for_each_chunk(buffer.words_mut(), shape.n, |row, a| t.limbs[row % shape.limbs].inverse(a, Order::Panel));
        Ok(buffer)
    }

    fn to_rows(&self, _: &CpuTables, shape: Shape, mut points: CpuBuffer) -> Result<CpuBuffer> {
        if points.layout == Layout::Panels && shape.batch > 1 {
            return Ok(from_panels(shape, &points, |_, _| ()));
        }
        points.layout = Layout::Rows;
        Ok(points)
    }

    fn to_panels(&self, _: &CpuTables, shape: Shape, mut rows: CpuBuffer) -> Result<CpuBuffer> {
        if rows.layout == Layout::Zero || shape.batch == 1 {
            rows.layout = Layout::Panels;
            return Ok(rows);
        }
        let mut out = CpuBuffer::new(shape.words(), Layout::Panels);
        let panels = Panels::new(out.words_mut(), shape);
        let group = groups::size(shape);
        for_each_chunk(rows.words_mut(), group * shape.limbs * shape.n, |i, rows| {
            // SAFETY: each group is taken once.
            unsafe { write_polys(&panels, shape, i * group, rows) };
        });
        Ok(out)
    }
}

/// Rows of points, in the order of panels, out of panels; `each` then has every row, with its limb, while it is in
/// cache.
fn from_panels(shape: Shape, panels: &CpuBuffer, each: impl Fn(usize, &mut [u64]) + Send + Sync) -> CpuBuffer {
    let mut out = CpuBuffer::new(shape.words(), Layout::Rows);
    let (group, Shape { limbs, n, .. }) = (groups::size(shape), shape);
    for_each_chunk(out.words_mut(), group * limbs * n, |i, words| {
        for limb in 0..limbs {
            let mut rows: Vec<_> = words.chunks_exact_mut(n).skip(limb).step_by(limbs).collect();
            groups::read(panels.words(), shape, i * group, limb, &mut rows);
            rows.into_iter().for_each(|row| each(limb, row));
        }
    });
    out
}
