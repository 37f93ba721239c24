//! Twin of `automorphism.wgsl`: x along n, y the rows of a window.

use blindvox_shaders::{AUTOMORPHISM_COEFF, AUTOMORPHISM_NTT};

use super::{GpuBuffer, GpuTables, LANES, WORD, Wgpu, part};
use crate::backend::{Domain, Shape};
use crate::error::Result;
use crate::ring::Galois;

impl Wgpu {
    pub(super) fn run_automorphism(
        &self,
        t: &GpuTables,
        shape: Shape,
        domain: Domain,
        buffer: &GpuBuffer,
        galois: Galois,
    ) -> Result<GpuBuffer> {
        self.context.healthy()?;
        let out = self.zeros_of(shape)?;
        let (kernel, element) = match domain {
            Domain::Coeff => (AUTOMORPHISM_COEFF, galois.inverse()),
            Domain::Ntt | Domain::Rows => (AUTOMORPHISM_NTT, galois.element()),
        };
        let pipeline = self.context.pipeline(kernel, &[]);
        let poly = shape.limbs * shape.n * WORD;
        for (first, count) in self.windows(shape)? {
            let windows = [t.moduli(), part(&out, poly, first, count), part(buffer, poly, first, count)];
            let groups = [(shape.n / LANES) as u32, (count * shape.limbs) as u32, 1];
            self.context.dispatch(&pipeline, &windows, &[shape.n as u32, shape.limbs as u32, element], groups);
        }
        Ok(out)
    }
}
