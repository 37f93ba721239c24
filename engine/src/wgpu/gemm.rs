//! Twin of `gemm.wgsl`: x along n, y limbs and column tiles, z row tiles; large products are split into windows.

use blindvox_shaders::GEMM;

use super::{GpuBuffer, GpuTables, LANES, WORD, Wgpu, part};
use crate::backend::{GemmShape, Shape};
use crate::error::Result;

/// The largest tile of a lane either way.
const TILE: usize = 4;
/// Products of residues a dispatch, so that it takes well under a second: on a software device and on a GPU.
const WORK: [usize; 2] = [1 << 28, 1 << 33];

/// The largest sizes of a part of the product whose windows hold at most `most` polynomials each: rows of
/// w, x and y lie `inner`, `cols` and `cols` polynomials apart.
fn window_size(size: GemmShape, most: usize) -> GemmShape {
    // A window of a rows at a distance of `stride`, `width` polynomials each, spans (a - 1) stride + width.
    let fit = |rows: usize, width: usize, stride: usize| rows.min((most - width) / stride + 1);
    let inner = size.inner.min(most);
    let cols = size.cols.min(most);
    let rows = fit(size.rows, inner, size.inner).min(fit(size.rows, cols, size.cols));
    GemmShape { rows, inner: fit(inner, cols, size.cols), cols }
}

/// 1, 2 or 4.
fn tile(extent: usize) -> usize {
    extent.next_power_of_two().min(TILE)
}

impl Wgpu {
    pub(super) fn run_gemm(
        &self,
        t: &GpuTables,
        limbs: usize,
        size: GemmShape,
        w: &GpuBuffer,
        x: &GpuBuffer,
    ) -> Result<GpuBuffer> {
        let n = t.basis.n();
        let poly = limbs * n * WORD;
        let y = self.zeros_of(Shape { batch: size.rows * size.cols, limbs, n })?;
        let mut step = window_size(size, self.window_polys(poly)?);
        let row_work = step.inner * step.cols * limbs * n;
        step.rows = step.rows.min((WORK[usize::from(!self.context.software)] / row_work).max(1).next_multiple_of(TILE));
        for r in (0..size.rows).step_by(step.rows) {
            let rows = step.rows.min(size.rows - r);
            for c in (0..size.cols).step_by(step.cols) {
                let cols = step.cols.min(size.cols - c);
                for k in (0..size.inner).step_by(step.inner) {
                    let inner = step.inner.min(size.inner - k);
                    let part = |buffer, first: usize, rows: usize, stride: usize, width: usize| {
                        part(buffer, poly, first, (rows - 1) * stride + width)
                    };
                    let windows = [
                        t.moduli(),
                        part(&y, r * size.cols + c, rows, size.cols, cols),
                        part(w, r * size.inner + k, rows, size.inner, inner),
                        part(x, k * size.cols + c, inner, size.cols, cols),
                    ];
                    let (row_tile, col_tile) = (tile(rows), tile(cols));
                    let pipeline = self.context.pipeline(GEMM, &[("ROWS", row_tile as u32), ("COLS", col_tile as u32)]);
                    let parameters =
                        [n, limbs, rows, inner, cols, size.inner, size.cols, usize::from(k > 0)].map(|v| v as u32);
                    let groups = [n / LANES, limbs * cols.div_ceil(col_tile), rows.div_ceil(row_tile)];
                    self.context.dispatch(&pipeline, &windows, &parameters, groups.map(|g| g as u32));
                }
            }
        }
        Ok(y)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_fit_and_are_not_empty() {
        for most in [1, 2, 7, 64, 1000] {
            for (rows, inner, cols) in [(1, 1, 1), (5, 3, 2), (64, 64, 64), (3, 500, 1), (1, 2, 900)] {
                let s = window_size(GemmShape { rows, inner, cols }, most);
                assert!(s.rows > 0 && s.inner > 0 && s.cols > 0);
                assert!(s.rows <= rows && s.inner <= inner && s.cols <= cols);
                assert!((s.rows - 1) * inner + s.inner <= most, "{s:?} {most}");
                assert!((s.inner - 1) * cols + s.cols <= most && (s.rows - 1) * cols + s.cols <= most);
            }
        }
    }
}
