//! Twin of `gemm.wgsl`: x the tiles, y along n, z the limbs; large products are split into windows.

use std::sync::Arc;

use blindvox_shaders::GEMM;
use zeroize::Zeroizing;

use super::pipeline::Pipeline;
use super::{GpuBuffer, GpuTables, LANES, WORD, Wgpu, part, runs, whole};
use crate::backend::{GemmShape, Limbs, Shape};
use crate::error::Result;
use crate::ring::Prime;

/// The largest tile of a lane either way.
const TILE: usize = 4;
/// Tiles that share a workgroup either way.
const TILES_A_GROUP: usize = 2;
/// Products of residues a dispatch, so that it takes well under a second: on a software device and on a GPU.
const WORK: [usize; 2] = [1 << 28, 1 << 33];

/// Tiles of a dispatch, at most as many as there are products: the limit of workgroups a dimension.
const TILES_A_DISPATCH: usize = 65_535;

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

/// A kernel, and the part of the product that a workgroup makes.
struct Tiles {
    pipeline: Arc<Pipeline>,
    rows_a_group: usize,
    cols_a_group: usize,
}

/// The left factor.
#[derive(Clone, Copy)]
enum Left<'a> {
    Polynomials(&'a Limbs<'a, GpuBuffer>),
    /// `[rows, inner, limbs]` residues.
    Constants(&'a GpuBuffer),
}

impl Wgpu {
    /// The kernel for a product of so many rows and columns. Several tiles share a workgroup, except on a software
    /// device, which has no cache that they would share; checked runs take several to be tested anywhere.
    fn tiles(&self, rows: usize, cols: usize, constants: u32) -> Tiles {
        let (row_tile, col_tile) = (tile(rows), tile(cols));
        let most = if self.context.software && !self.context.pipelines.checked { 1 } else { TILES_A_GROUP };
        let [down, across] = [rows.div_ceil(row_tile), cols.div_ceil(col_tile)].map(|tiles| tiles.min(most));
        let settings = [
            ("ROWS", row_tile as u32),
            ("COLS", col_tile as u32),
            ("DOWN", down as u32),
            ("ACROSS", across as u32),
            ("CONSTANTS", constants),
        ];
        let pipeline = self.context.pipeline(GEMM, &settings);
        Tiles { pipeline, rows_a_group: down * row_tile, cols_a_group: across * col_tile }
    }

    /// Compiles the kernel of a product of many rows and columns.
    pub(super) fn compile_gemm(&self, constants: bool) {
        self.tiles(64, 64, u32::from(constants));
    }

    pub(super) fn run_gemm(
        &self,
        t: &GpuTables,
        size: GemmShape,
        w: &Limbs<'_, GpuBuffer>,
        x: &GpuBuffer,
    ) -> Result<GpuBuffer> {
        self.multiply(t, size, Left::Polynomials(w), x)
    }

    pub(super) fn run_gemm_constants(
        &self,
        t: &GpuTables,
        size: GemmShape,
        w: &[i32],
        x: &[&GpuBuffer],
    ) -> Result<Vec<GpuBuffer>> {
        let moduli: Vec<_> = t.basis.primes().iter().map(Prime::modulus).collect();
        let residues = w.iter().flat_map(|&w| moduli.iter().map(move |q| q.from_signed(i64::from(w))));
        let residues = Zeroizing::new(residues.collect::<Vec<u64>>());
        let w = GpuBuffer::upload(&self.context, bytemuck::cast_slice(&residues))?;
        x.iter().map(|x| self.multiply(t, size, Left::Constants(&w), x)).collect()
    }

    fn multiply(&self, t: &GpuTables, size: GemmShape, w: Left<'_>, x: &GpuBuffer) -> Result<GpuBuffer> {
        let (limbs, n) = (t.basis.len(), t.basis.n());
        let poly = limbs * n * WORD;
        // Of an entry of w: its limbs, and which of them belong to runs of those of x.
        let all: Vec<usize> = (0..limbs).collect();
        let (w_limbs, map) = match w {
            Left::Polynomials(w) => (w.limbs, w.map),
            Left::Constants(_) => (limbs, &*all),
        };
        let w_poly = w_limbs * n * WORD;
        let y = self.zeros_of(Shape { batch: size.rows * size.cols, limbs, n })?;
        let mut step = window_size(size, self.window_polys(poly.max(w_poly))?.min(TILES_A_DISPATCH));
        let row_work = step.inner * step.cols * limbs * n;
        step.rows = step.rows.min((WORK[usize::from(!self.context.software)] / row_work).max(1).next_multiple_of(TILE));
        let constants = u32::from(matches!(w, Left::Constants(_)));
        for r in (0..size.rows).step_by(step.rows) {
            let rows = step.rows.min(size.rows - r);
            for c in (0..size.cols).step_by(step.cols) {
                let cols = step.cols.min(size.cols - c);
                for k in (0..size.inner).step_by(step.inner) {
                    let inner = step.inner.min(size.inner - k);
                    let part = |buffer, poly: usize, first: usize, rows: usize, stride: usize, width: usize| {
                        part(buffer, poly, first, (rows - 1) * stride + width)
                    };
                    let first = r * size.inner + k;
                    let (w, w_first) = match w {
                        Left::Polynomials(w) => (part(w.buffer, w_poly, first, rows, size.inner, inner), 0),
                        Left::Constants(w) => (whole(w), first),
                    };
                    let windows = [
                        t.moduli(),
                        part(&y, poly, r * size.cols + c, rows, size.cols, cols),
                        w,
                        part(x, poly, k * size.cols + c, inner, size.cols, cols),
                    ];
                    let Tiles { pipeline, rows_a_group, cols_a_group } = self.tiles(rows, cols, constants);
                    let accumulate = usize::from(k > 0);
                    let sizes = [n, limbs, rows, inner, cols, size.inner, size.cols, accumulate, w_first];
                    let tiles = cols.div_ceil(cols_a_group) * rows.div_ceil(rows_a_group);
                    for run in runs(map) {
                        let places = [w_limbs, run.start, map[run.start]];
                        let parameters: Vec<u32> = sizes.iter().chain(&places).map(|&v| v as u32).collect();
                        let groups = [tiles, n / LANES, run.len()].map(|g| g as u32);
                        self.context.dispatch(&pipeline, &windows, &parameters, groups);
                    }
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
