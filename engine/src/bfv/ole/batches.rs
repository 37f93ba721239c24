//! Batches of polynomials step by step, on any device: the definition.

use super::*;
use crate::poly::{Coeff, Ntt, PolyBatch};
use crate::rlwe::Ciphertexts;

impl OleReceiver {
    pub(super) fn ask_by_batches(
        &self,
        seed: &PublicSeed,
        x: &[u32],
        mut prngs: Vec<Prng>,
        out: &mut Vec<u8>,
    ) -> Result<()> {
        let Tools { params, device, slots, encoder, .. } = &self.tools;
        let basis = params.basis();
        let message = Zeroizing::new(slots.encode(x)?);
        let noise = draw(&mut prngs, params.n(), sampler::fill_noise);
        let mut c0 = PolyBatch::<Coeff>::lift(device, basis, &noise, &vec![1; basis.len()])?;
        c0.add_lifted(&Zeroizing::new(encoder.signed(&message)), encoder.scale())?;
        let mut c0 = c0.into_ntt()?;
        let mut c1 = PolyBatch::uniform(device, basis, seed, 0, prngs.len())?;
        c1.mul_assign(self.key.for_basis(basis.len())?)?;
        c0.sub_assign(&c1)?;
        wire::pack_rows(basis, &c0.download()?, out);
        Ok(())
    }

    pub(super) fn receive_by_batches(&self, replies: &[u8], acc: &mut [u32]) -> Result<()> {
        let Tools { first, device, slots, .. } = &self.tools;
        let row = self.tools.row_len(0);
        let half = |at: usize| {
            let mut words = Vec::new();
            for reply in replies.chunks_exact(2 * row) {
                words.extend(wire::unpack_rows(first, 1, &reply[at * row..][..row])?);
            }
            PolyBatch::<Coeff>::upload(device, first, &words)
        };
        let messages = Zeroizing::new(self.key.decrypt(half(0)?, half(1)?)?);
        let sums = Zeroizing::new(slots.decode(&messages)?);
        add_to(slots.modulus(), acc, sums.iter().map(|&y| u64::from(y)));
        Ok(())
    }
}

impl OleSender {
    pub(super) fn answer_by_batches(
        &self,
        terms: &[Term<'_>],
        mut prngs: Vec<Prng>,
        acc: &mut [u32],
        out: &mut Vec<u8>,
    ) -> Result<()> {
        let Tools { params, device, slots, first, encoder, .. } = &self.tools;
        let (n, basis, ones) = (params.n(), params.basis(), vec![1; params.basis().len()]);
        let zeros = || PolyBatch::<Ntt>::zeros(device, basis, prngs.len());
        let mut sums = Ciphertexts { c0: zeros()?, c1: zeros()? };
        for Term { asked, factor } in terms {
            let (seed, rows) = split_seed(asked)?;
            let c0 = PolyBatch::upload(device, basis, &wire::unpack_rows(basis, prngs.len(), rows)?)?;
            let c1 = PolyBatch::uniform(device, basis, &seed, 0, prngs.len())?;
            let factor = Zeroizing::new(slots.encode_signed(factor)?);
            let factor = PolyBatch::<Coeff>::lift(device, basis, &factor, &ones)?;
            factor.mul_add_into([&mut sums.c0, &mut sums.c1], [&c0, &c1])?;
        }
        let mut mask = Zeroizing::new(vec![0; acc.len()]);
        let p = slots.modulus();
        for (mask, prng) in mask.chunks_exact_mut(n).zip(&mut prngs) {
            sampler::fill_residues(prng, p.value() as u32, mask);
        }
        let u = draw(&mut prngs, n, sampler::fill_ternary);
        let [e0, e1] = [(); 2].map(|()| draw(&mut prngs, n, sampler::fill_noise));
        let flood = draw(&mut prngs, n, |prng, out| sampler::fill_flood(prng, out, self.flood_bits));

        let u = PolyBatch::<Coeff>::lift(device, basis, &u, &ones)?;
        u.mul_add_into([&mut sums.c0, &mut sums.c1], [&self.key.b, &self.key.a])?;
        let (mut c0, mut c1) = (sums.c0.into_coeff()?, sums.c1.into_coeff()?);
        c0.add_lifted(&e0, &ones)?;
        c0.add_lifted(&Zeroizing::new(encoder.signed(&mask)), encoder.scale())?;
        c1.add_lifted(&e1, &ones)?;
        while c0.basis().len() > 1 {
            let kept = c0.basis().len() - 1;
            (c0, c1) = (c0.mod_down(kept)?, c1.mod_down(kept)?);
        }
        c0.add_lifted(&flood, &[1])?;
        for (c0, c1) in c0.download()?.chunks_exact(n).zip(c1.download()?.chunks_exact(n)) {
            wire::pack_rows(first, c0, out);
            wire::pack_rows(first, c1, out);
        }
        let r = Zeroizing::new(slots.decode(&mask)?);
        add_to(p, acc, r.iter().map(|&r| p.neg(u64::from(r))));
        Ok(())
    }
}

/// `[batch, n]` coefficients, drawn ciphertext by ciphertext.
fn draw(prngs: &mut [Prng], n: usize, fill: impl Fn(&mut Prng, &mut [i32])) -> Zeroizing<Vec<i32>> {
    let mut values = Zeroizing::new(vec![0; prngs.len() * n]);
    values.chunks_exact_mut(n).zip(prngs).for_each(|(values, prng)| fill(prng, values));
    values
}
