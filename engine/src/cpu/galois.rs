//! Automorphisms, in either layout.

use std::sync::Arc;

use super::buffer::{CpuBuffer, Layout};
use super::{Cpu, CpuTables, Image, for_each_chunk, groups, panels, scalar};
use crate::backend::{Domain, GaloisMaps, Shape};
use crate::error::Result;
use crate::ring::Galois;

impl GaloisMaps for Cpu {
    fn automorphism(
        &self,
        t: &CpuTables,
        shape: Shape,
        domain: Domain,
        buffer: &CpuBuffer,
        galois: Galois,
    ) -> Result<CpuBuffer> {
        let Shape { limbs, n, .. } = shape;
        Ok(match buffer.layout {
            Layout::Zero => CpuBuffer::zeros(shape.words()),
            Layout::Rows if domain == Domain::Rows => {
                let (mut out, image) = (CpuBuffer::new(shape.words(), Layout::Rows), self.image(n, galois));
                for_each_chunk(out.words_mut(), n, |row, out| {
                    let a = &buffer.words()[row * n..][..n];
                    out.iter_mut().zip(image.iter()).for_each(|(out, &i)| *out = a[i as usize]);
                });
                out
            }
            Layout::Rows => {
                let mut out = CpuBuffer::new(shape.words(), Layout::Rows);
                for_each_chunk(out.words_mut(), n, |row, out| {
                    let a = &buffer.words()[row * n..][..n];
                    scalar::automorphism_coeff(t.modulus(row % limbs), galois, out, a);
                });
                out
            }
            Layout::Panels => automorphism_ntt(shape, buffer, &self.image(n, galois)),
        })
    }
}

impl Cpu {
    /// The place in a single polynomial's panels that each place of its image comes from: the same for every limb.
    fn image(&self, n: usize, galois: Galois) -> Image {
        let mut known = self.images.lock().unwrap_or_else(|e| e.into_inner());
        let image = || (0..n).map(|i| panels::place(n, galois.point(panels::place(n, i))) as u32).collect();
        known.entry((n, galois.element())).or_insert_with(|| Arc::new(image())).clone()
    }
}

/// The automorphism of panels.
fn automorphism_ntt(shape: Shape, buffer: &CpuBuffer, from: &[u32]) -> CpuBuffer {
    let Shape { batch, n, .. } = shape;
    let width = groups::width(n);
    let at = |i: u32| i as usize / width * batch * width + i as usize % width;
    let mut out = CpuBuffer::new(shape.words(), Layout::Panels);
    let chunk = n.min(64);
    for_each_chunk(out.words_mut(), chunk * batch, |i, out| {
        let (limb, first) = (i * chunk / n, i * chunk % n);
        let words = &buffer.words()[limb * n * batch..][..n * batch];
        let panels = out.chunks_exact_mut(width * batch).zip(from[first..].chunks_exact(width));
        for (panel, from) in panels {
            for (poly, line) in panel.chunks_exact_mut(width).enumerate() {
                line.iter_mut().zip(from).for_each(|(out, &i)| *out = words[at(i) + poly * width]);
            }
        }
    });
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::Memory;
    use crate::ring::Basis;
    use crate::ring::primes::DEFAULT_50;

    #[test]
    fn automorphisms_of_panels_are_the_definition() {
        for (n, batch, element) in [(4, 1, 3), (32, 2, 5), (64, 1, 127), (256, 3, 77), (4096, 2, 4095)] {
            let basis = Basis::new(n, &DEFAULT_50[..2]).unwrap();
            let (cpu, shape, galois) = (Cpu::default(), Shape { batch, limbs: 2, n }, Galois::new(n, element).unwrap());
            let t = cpu.tables(&basis).unwrap();
            let points: Vec<u64> = (0..shape.words() as u64).collect();
            let panels = cpu.upload(&t, shape, Domain::Ntt, &points).unwrap();
            let image = cpu.automorphism(&t, shape, Domain::Ntt, &panels, galois).unwrap();
            let mut expected = vec![0; shape.words()];
            for (out, row) in expected.chunks_exact_mut(n).zip(points.chunks_exact(n)) {
                scalar::automorphism_ntt(galois, out, |i| row[i]);
            }
            assert!(cpu.download(&t, shape, Domain::Ntt, &image).unwrap() == expected, "n = {n}, element {element}");
        }
    }
}
