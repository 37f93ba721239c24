//! Twin of `rns.wgsl`: x along n, y the primes of the target, z the polynomials of a window.

use std::sync::Arc;

use blindvox_shaders::{Kernel, MOD_DOWN, MOD_UP};

use super::{GpuBuffer, GpuTables, LANES, ROWS_A_DISPATCH, WORD, Wgpu, part, runs, whole};
use crate::backend::{Limbs, Shape};
use crate::error::Result;
use crate::ring::ntt_table::Factor;
use crate::ring::{Basis, Conversion, Prime};

impl Wgpu {
    pub(super) fn run_mod_up(
        &self,
        t: &GpuTables,
        to: &GpuTables,
        shape: Shape,
        from: &Limbs<'_, GpuBuffer>,
    ) -> Result<GpuBuffer> {
        let constants = self.conversion(&t.basis, &to.basis)?;
        if runs(from.map).count() == 1 {
            return self.run_rns(MOD_UP, to, shape, from, &constants);
        }
        // The kernel reads limbs that follow each other.
        let sources = Shape { limbs: from.map.len(), ..shape };
        let (copy, map) = (self.copy_limbs(sources, from)?, (0..sources.limbs).collect::<Vec<_>>());
        let view = Limbs { buffer: &copy, limbs: sources.limbs, map: &map };
        self.run_rns(MOD_UP, to, shape, &view, &constants)
    }

    pub(super) fn run_mod_down(
        &self,
        t: &GpuTables,
        shape: Shape,
        kept: usize,
        buffer: &GpuBuffer,
    ) -> Result<GpuBuffer> {
        let target = Shape { limbs: kept, ..shape };
        let constants = self.conversion(&t.basis.range(kept..shape.limbs)?, &t.basis.level(kept)?)?;
        let map: Vec<usize> = (kept..shape.limbs).collect();
        // The primes that are kept come first in the table of all.
        self.run_rns(MOD_DOWN, t, target, &Limbs { buffer, limbs: shape.limbs, map: &map }, &constants)
    }

    /// A batch of `shape`, made of the limbs of `from`.
    fn run_rns(
        &self,
        kernel: Kernel,
        to: &GpuTables,
        shape: Shape,
        from: &Limbs<'_, GpuBuffer>,
        constants: &GpuBuffer,
    ) -> Result<GpuBuffer> {
        let out = self.zeros_of(shape)?;
        self.context.healthy()?;
        let Shape { batch, limbs, n } = shape;
        let pipeline = self.context.pipeline(kernel, &[]);
        let most = self.window_polys(limbs.max(from.limbs) * n * WORD)?.min(ROWS_A_DISPATCH);
        for first in (0..batch).step_by(most) {
            let count = most.min(batch - first);
            let windows = [
                to.moduli(),
                part(&out, limbs * n * WORD, first, count),
                part(from.buffer, from.limbs * n * WORD, first, count),
                whole(constants),
            ];
            let parameters = [n, from.limbs, from.map[0], from.map.len(), limbs].map(|v| v as u32);
            self.context.dispatch(&pipeline, &windows, &parameters, [n / LANES, limbs, count].map(|g| g as u32));
        }
        Ok(out)
    }

    /// The constants from one basis to another, uploaded at first use.
    fn conversion(&self, from: &Basis, to: &Basis) -> Result<Arc<GpuBuffer>> {
        let mut known = self.conversions.lock().unwrap_or_else(|e| e.into_inner());
        let key = (from.clone(), to.clone());
        if let Some(constants) = known.get(&key) {
            return Ok(constants.clone());
        }
        let words = table(&Conversion::new(from, to)?);
        let constants = Arc::new(GpuBuffer::upload(&self.context, bytemuck::cast_slice(&words))?);
        known.insert(key, constants.clone());
        Ok(constants)
    }
}

/// The constants as `rns.wgsl` reads them.
fn table(conversion: &Conversion) -> Vec<u64> {
    let sources = conversion.from().primes().iter().zip(conversion.inverses()).enumerate();
    let source = |(i, (m, inverse)): (usize, (&Prime, &Factor))| {
        let shift = m.modulus().bits().saturating_sub(30).into();
        [m.value(), inverse.value, inverse.shoup, conversion.ratio(i), shift]
    };
    let targets = conversion.quotients().iter().enumerate();
    let target = |(p, quotient): (usize, &Factor)| {
        [quotient.value, quotient.shoup].into_iter().chain(conversion.weights(p).iter().copied()).collect::<Vec<_>>()
    };
    sources.flat_map(source).chain(targets.flat_map(target)).collect()
}
