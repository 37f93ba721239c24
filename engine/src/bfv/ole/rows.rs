//! Each ciphertext by itself, from its first random draw to its packed bytes, by the row kernels of a CPU.

use super::*;
use crate::cpu::CpuTables;

impl OleReceiver {
    pub(super) fn ask_by_rows(
        &self,
        tables: [&CpuTables; 2],
        seed: &PublicSeed,
        x: &[u32],
        prngs: Vec<Prng>,
        out: &mut Vec<u8>,
    ) {
        let tools = &self.tools;
        let (n, basis) = (tools.params.n(), tools.params.basis());
        let (start, len) = (out.len(), wire::packed_rows_len(basis, 1));
        out.resize(start + prngs.len() * len, 0);
        let ciphertexts = out[start..].par_chunks_exact_mut(len).zip(x.par_chunks_exact(n)).zip(prngs).enumerate();
        ciphertexts.for_each(|(i, ((bytes, x), prng))| self.ask_one(tables, seed, i, x, prng, bytes));
    }

    /// Ciphertext `i` of a batch.
    fn ask_one(
        &self,
        [tables, slots]: [&CpuTables; 2],
        seed: &PublicSeed,
        i: usize,
        x: &[u32],
        mut prng: Prng,
        bytes: &mut [u8],
    ) {
        let tools = &self.tools;
        let (n, basis) = (tools.params.n(), tools.params.basis());
        tools.with_scratch([2, 2], |rows, values| {
            let (row, c1) = rows.split_at_mut(n);
            let (message, noise) = values.split_at_mut(n);
            let mut rest = bytes;
            encode(slots, x, row);
            tools.encoder.fill_signed(row, message);
            sampler::fill_noise(&mut prng, noise);
            for limb in 0..basis.len() {
                tables.lift(limb, row, noise);
                tables.add_lifted(limb, row, message, tools.encoder.scale()[limb]);
                tables.forward(limb, row);
                sampler::uniform_poly(seed, basis.modulus(limb), i as u32, limb as u32, c1);
                tables.mul(limb, c1, &self.s[limb * n..][..n]);
                tables.sub(limb, row, c1);
                let (packed, tail) = rest.split_at_mut(tools.row_len(limb));
                wire::pack_into(row, tools.bits(limb), packed);
                rest = tail;
            }
        });
    }

    pub(super) fn receive_by_rows(
        &self,
        [tables, slots]: [&CpuTables; 2],
        bytes: &[u8],
        acc: &mut [u32],
    ) -> Result<()> {
        let tools = &self.tools;
        let n = tools.params.n();
        tools.with_scratch([2, 2], |rows, _| {
            let (c0, c1) = rows.split_at_mut(n);
            let (first, second) = bytes.split_at(tools.row_len(0));
            tools.unpack(0, first, c0)?;
            tools.unpack(0, second, c1)?;
            tables.forward(0, c1);
            tables.mul(0, c1, &self.s[..n]);
            tables.inverse(0, c1);
            tables.add(0, c0, c1);
            c0.iter_mut().for_each(|x| *x = tools.decoder.decode(*x).into());
            slots.forward(0, c0);
            add_to(tools.slots.modulus(), acc, c0.iter().copied());
            Ok(())
        })
    }
}

impl OleSender {
    pub(super) fn answer_by_rows(
        &self,
        tables: [&CpuTables; 2],
        terms: &[Term<'_>],
        prngs: Vec<Prng>,
        acc: &mut [u32],
        out: &mut Vec<u8>,
    ) -> Result<()> {
        let (n, len, start) = (self.tools.params.n(), self.tools.reply_len(), out.len());
        out.resize(start + prngs.len() * len, 0);
        let ciphertexts = out[start..].par_chunks_exact_mut(len).zip(acc.par_chunks_exact_mut(n)).zip(prngs);
        ciphertexts
            .enumerate()
            .try_for_each(|(i, ((bytes, acc), prng))| self.answer_one(tables, i, terms, prng, acc, bytes))
    }

    /// Ciphertext `i` of a batch.
    fn answer_one(
        &self,
        [tables, slots]: [&CpuTables; 2],
        i: usize,
        terms: &[Term<'_>],
        mut prng: Prng,
        acc: &mut [u32],
        bytes: &mut [u8],
    ) -> Result<()> {
        let tools = &self.tools;
        let (n, basis) = (tools.params.n(), tools.params.basis());
        let (limbs, asked_len) = (basis.len(), wire::packed_rows_len(basis, 1));
        let p = tools.slots.modulus();
        let terms =
            terms.iter().map(|t| Ok((split_seed(t.asked)?, &t.factor[i * n..][..n]))).collect::<Result<Vec<_>>>()?;
        tools.with_scratch([2 * limbs + 2, terms.len() + 4], |rows, values| {
            let (c0, rows) = rows.split_at_mut(limbs * n);
            let (c1, rows) = rows.split_at_mut(limbs * n);
            let (row, other) = rows.split_at_mut(n);
            let (factors, values) = values.split_at_mut(terms.len() * n);
            let mut values = values.chunks_exact_mut(n);
            let [message, u, e0, e1] = std::array::from_fn(|_| values.next().expect("room for four"));

            for (coefficients, (_, factor)) in factors.chunks_exact_mut(n).zip(&terms) {
                encode(slots, factor, row);
                wide(|| coefficients.iter_mut().zip(&*row).for_each(|(c, &x)| *c = p.to_signed(x) as i32));
            }
            let mask = bytemuck::cast_slice_mut(&mut *u);
            sampler::fill_residues(&mut prng, p.value() as u32, mask);
            tools.encoder.fill_signed(mask, message);
            row.iter_mut().zip(&*mask).for_each(|(r, &m)| *r = m.into());
            slots.forward(0, row);
            add_to(p, acc, row.iter().map(|&r| p.neg(r)));
            sampler::fill_ternary(&mut prng, u);
            sampler::fill_noise(&mut prng, e0);
            sampler::fill_noise(&mut prng, e1);

            let (mut at, scale) = (i * asked_len, tools.encoder.scale());
            for (limb, (c0, c1)) in c0.chunks_exact_mut(n).zip(c1.chunks_exact_mut(n)).enumerate() {
                // The encryption of zero: u·(b, a).
                tables.lift(limb, c1, u);
                tables.forward(limb, c1);
                c0.copy_from_slice(c1);
                tables.mul(limb, c0, &self.b[limb * n..][..n]);
                tables.mul(limb, c1, &self.a[limb * n..][..n]);
                for (coefficients, ((seed, asked), _)) in factors.chunks_exact(n).zip(&terms) {
                    tables.lift(limb, row, coefficients);
                    tables.forward(limb, row);
                    tools.unpack(limb, &asked[at..][..tools.row_len(limb)], other)?;
                    tables.mul_add(limb, c0, other, row);
                    sampler::uniform_poly(seed, basis.modulus(limb), i as u32, limb as u32, other);
                    tables.mul_add(limb, c1, other, row);
                }
                at += tools.row_len(limb);
                tables.inverse(limb, c0);
                tables.add_lifted(limb, c0, e0, 1);
                tables.add_lifted(limb, c0, message, scale[limb]);
                tables.inverse(limb, c1);
                tables.add_lifted(limb, c1, e1, 1);
            }
            tables.drop_to_first(c0);
            tables.drop_to_first(c1);
            sampler::fill_flood(&mut prng, e0, self.flood_bits);
            tables.add_lifted(0, &mut c0[..n], e0, 1);
            let (first, second) = bytes.split_at_mut(tools.row_len(0));
            wire::pack_into(&c0[..n], tools.bits(0), first);
            wire::pack_into(&c1[..n], tools.bits(0), second);
            Ok(())
        })
    }
}

/// Slot values below p to coefficients, through a row of residues.
fn encode(slots: &CpuTables, x: &[u32], row: &mut [u64]) {
    row.iter_mut().zip(x).for_each(|(r, &x)| *r = x.into());
    slots.inverse(0, row);
}
