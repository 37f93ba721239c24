//! Tensors under encryption: ciphertexts, and where in them the elements lie.
//!
//! ```
//! use blindvox_engine::bfv::{Params, SecretKey};
//! use blindvox_engine::{Device, Prng};
//! use blindvox_models::LinearKind;
//! use blindvox_protocols::linear::{EncryptedTensor, LinearSpec, Plan};
//! use ndarray::{Array, Array4, Array5};
//!
//! // A 3^3 convolution with stride 2 of one channel of 8 x 10 x 12 voxels to two of 4 x 5 x 6.
//! let kind = LinearKind::Conv { kernel: [3; 3], stride: [2; 3], padding: [1; 3] };
//! let (size, output_size) = ([8, 10, 12], [4, 5, 6]);
//! let spec = LinearSpec { name: "first".into(), kind, inputs: 1, outputs: 2, size, output_size, weight_bits: 8 };
//! let plan = Plan::new(&spec)?;
//! let volume = Array4::from_shape_fn((1, 8, 10, 12), |(_, z, y, x)| (z * 100 + y * 10 + x) as u32).into_dyn();
//! let weights = Array5::from_elem((2, 1, 3, 3, 3), 3).into_dyn();
//!
//! let mut prng = Prng::from_os()?;
//! let key = SecretKey::generate(&Params::hom_conv(), &Device::cpu(), &mut prng)?;
//! let encrypted = EncryptedTensor::encrypt(volume.view(), &plan.input()?, &key, &mut prng)?;
//! let features = encrypted.apply(&plan, weights.view())?.decrypt(&key)?;
//! assert_eq!(features[[0, 1, 1, 1]], 3 * 27 * 222, "the mean of a window is its centre");
//! # Ok::<(), blindvox_protocols::Error>(())
//! ```
//!
//! What [`apply`](EncryptedTensor::apply) returns tells its decrypter of the weights: the noise grows with them. Where
//! they are to stay secret, replies are masked and flooded, as [`hom_conv`](super::hom_conv) sends them.

use std::ops::Range;

use blindvox_engine::bfv::{Encryptor, Params, Products, PublicKey, ReplyParams, SecretKey};
use blindvox_engine::ring::sampler::PublicSeed;
use blindvox_engine::rlwe::Ciphertexts;
use blindvox_engine::rlwe::wire::packed_rows_len;
use blindvox_engine::{Device, Prng};
use ndarray::{ArrayD, ArrayViewD, IxDyn};

use super::coefficients::products::Weights;
use super::layout::{Layout, Line};
use super::plan::Plan;
use crate::error::{Error, Result};

/// A tensor modulo the scheme's t under encryption, ready to be multiplied.
pub struct EncryptedTensor {
    layout: Layout,
    ciphertexts: Ciphertexts,
}

/// What travels of an encrypted tensor: the seed of all c1, and each packed c0.
pub(super) struct Sealed<'a> {
    pub(super) seed: PublicSeed,
    pub(super) halves: Vec<&'a [u8]>,
}

impl EncryptedTensor {
    /// Encrypts a tensor of values below t under its owner's key.
    ///
    /// # Errors
    /// [`Error::Model`] for other dimensions than the layout's; [`Error::Engine`] for a layout of other polynomials
    /// than the key's.
    pub fn encrypt(values: ArrayViewD<'_, u32>, layout: &Layout, key: &SecretKey, prng: &mut Prng) -> Result<Self> {
        layout.check(values.shape())?;
        let (mut encryptor, mut bytes) = (key.encryptor(prng), Vec::new());
        let seed = encryptor.seed();
        Self::seal(values, layout, &mut encryptor, prng, &mut bytes)?;
        let halves = bytes.chunks_exact(packed_rows_len(key.params().basis(), 1)).collect();
        let zeros = ArrayD::zeros(IxDyn(layout.shape()));
        Self::open(Sealed { seed, halves }, zeros.view(), layout.clone(), (key.params(), key.device()))
    }

    /// Appends what travels of an encrypted tensor but the seed, each call going on under the encryptor's.
    pub(super) fn seal(
        values: ArrayViewD<'_, u32>,
        layout: &Layout,
        encryptor: &mut Encryptor<'_>,
        prng: &mut Prng,
        out: &mut Vec<u8>,
    ) -> Result<()> {
        layout.check(values.shape())?;
        Ok(encryptor.encrypt_packed(layout.gather(&Line::new(&values)), prng, out)?)
    }

    /// The tensor that was sealed plus `added`.
    pub(super) fn open(
        sealed: Sealed<'_>,
        added: ArrayViewD<'_, u32>,
        layout: Layout,
        (params, device): (&Params, &Device),
    ) -> Result<Self> {
        layout.check(added.shape())?;
        let line = Line::new(&added);
        let ciphertexts = Ciphertexts::unpack(device, params, &sealed.seed, &sealed.halves, layout.gather(&line))?;
        Ok(Self { layout, ciphertexts })
    }

    /// Where its elements lie.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The ciphertexts.
    pub fn ciphertexts(&self) -> &Ciphertexts {
        &self.ciphertexts
    }

    /// The plan's operation with `weights`, `[outputs, inputs, depth, height, width]`, all of it at once: products and
    /// transformed weights must fit in memory together.
    ///
    /// # Errors
    /// [`Error::Model`] for another layout than the plan's input, and for weights that are not as planned.
    pub fn apply(&self, plan: &Plan, weights: ArrayViewD<'_, i32>) -> Result<Self> {
        let (tiles, rows) = (plan.encoding().tiles(), 0..plan.encoding().out_groups());
        if self.layout != plan.input()? {
            let name = &plan.spec().name;
            return Err(Error::Model(format!("layer {name}: the tensor is not laid out as its plan says")));
        }
        let shape = plan.weights_shape();
        if weights.shape() != shape {
            let (name, have) = (&plan.spec().name, weights.shape());
            return Err(Error::Model(format!("layer {name}: weights of {have:?} where {shape:?} were expected")));
        }
        let line = Line::new(&weights);
        plan.check_weights(&line)?;
        let mut weights = Weights::new(plan, self.ciphertexts.c0.device(), &line, 1);
        self.multiply(plan, &mut weights, 0, (&(0..tiles), rows))
    }

    /// Output groups `rows` of a block of `tiles`, which this tensor is, as step `step`.
    pub(super) fn multiply(
        &self,
        plan: &Plan,
        weights: &mut Weights<'_>,
        step: usize,
        (tiles, rows): (&Range<usize>, Range<usize>),
    ) -> Result<Self> {
        let layout = plan.output_part(tiles, &rows)?;
        Ok(Self { layout, ciphertexts: weights.multiply(step, rows, &self.ciphertexts, tiles.len())? })
    }

    /// Replies that carry ciphertexts `range` plus fresh uniform masks, which are left at their elements of `masks`.
    pub(super) fn reply(
        &self,
        range: Range<usize>,
        key: &PublicKey,
        how: ReplyParams,
        prng: &mut Prng,
        masks: &mut [u32],
    ) -> Result<Vec<Vec<u8>>> {
        let part = self.layout.part(range.clone());
        Ok(key.reply_packed(Products { all: &self.ciphertexts, range }, how, prng, part.scatter(masks))?)
    }

    /// Decrypts what [`Self::reply`] made, in whole or in part, to the elements of `values`.
    pub(super) fn decrypt_replies(
        replies: &[&[u8]],
        layout: &Layout,
        key: &SecretKey,
        values: &mut [u32],
    ) -> Result<()> {
        Ok(key.decrypt_packed(replies, layout.scatter(values))?)
    }

    /// Decrypts it.
    ///
    /// # Errors
    /// [`Error::Engine`] for another key's parameters or device.
    pub fn decrypt(self, key: &SecretKey) -> Result<ArrayD<u32>> {
        let Ciphertexts { c0, c1 } = self.ciphertexts;
        let messages = key.decrypt(c0.into_coeff()?.mod_down(1)?, c1.into_coeff()?.mod_down(1)?)?;
        let mut values = ArrayD::zeros(IxDyn(self.layout.shape()));
        if let Some(values) = values.as_slice_mut() {
            let polys = messages.chunks_exact(self.layout.n()).enumerate();
            polys.for_each(|(i, poly)| self.layout.places().scatter(i, poly, values));
        }
        Ok(values)
    }
}

#[cfg(test)]
mod tests {
    use blindvox_engine::poly::Run;
    use blindvox_models::LinearKind;
    use ndarray::Array;

    use super::*;
    use crate::linear::LinearSpec;

    fn prng(seed: u8) -> Prng {
        Prng::from_seed_for_tests([seed; 32])
    }

    fn key() -> SecretKey {
        SecretKey::generate(&Params::hom_conv(), &Device::cpu(), &mut prng(1)).unwrap()
    }

    fn tensor(shape: &[usize], seed: u8) -> ArrayD<u32> {
        Array::from_shape_vec(IxDyn(shape), prng(seed).fill(shape.iter().product())).unwrap()
    }

    fn plan(kind: LinearKind, channels: [usize; 2], size: [usize; 3], output_size: [usize; 3]) -> Plan {
        let name = "enc.0.0".to_owned();
        let [inputs, outputs] = channels;
        Plan::new(&LinearSpec { name, kind, inputs, outputs, size, output_size, weight_bits: 12 }).unwrap()
    }

    #[test]
    fn tensors_come_back_wherever_they_lie() {
        let key = key();
        let gaps = Run { polynomial: 0, place: 7, step: [200, 30, 3], index: 0, stride: [12, 4, 1], len: [2, 3, 4] };
        let layout = Layout::new(&[2, 3, 4], 4096, 2, vec![gaps]).unwrap();
        let values = tensor(&[2, 3, 4], 2);
        let there = EncryptedTensor::encrypt(values.view(), &layout, &key, &mut prng(3)).unwrap();
        assert_eq!((there.layout(), there.ciphertexts().c0.batch()), (&layout, 2));
        assert_eq!(there.decrypt(&key).unwrap(), values);
        // A view with its axes in another order is the tensor that it shows.
        let turned = tensor(&[4, 3, 2], 4);
        let there = EncryptedTensor::encrypt(turned.t(), &layout, &key, &mut prng(3)).unwrap();
        assert_eq!(there.decrypt(&key).unwrap(), turned.t());
        assert!(EncryptedTensor::encrypt(turned.view(), &layout, &key, &mut prng(3)).is_err());
    }

    #[test]
    fn layers_are_applied_exactly() {
        let key = key();
        let conv = |kernel, stride, padding| LinearKind::Conv { kernel, stride, padding };
        for (kind, channels, size, output) in [
            (conv([3; 3], [2; 3], [1; 3]), [3, 4], [17, 12, 21], [9, 6, 11]),
            (conv([1; 3], [1; 3], [0; 3]), [3, 2], [5, 6, 7], [5, 6, 7]),
            (LinearKind::Transposed2 { factor: [2; 3] }, [3, 2], [5, 6, 7], [10, 12, 14]),
        ] {
            let plan = plan(kind, channels, size, output);
            let x = tensor(&plan.input_shape(), 5);
            let weights = tensor(&plan.weights_shape(), 6).mapv(|w| w as i32 >> 21);
            let there = EncryptedTensor::encrypt(x.view(), &plan.input().unwrap(), &key, &mut prng(7)).unwrap();
            let y = there.apply(&plan, weights.view()).unwrap();
            assert_eq!(y.layout(), &plan.output().unwrap());
            let expected = plan.spec().op().ideal(weights.as_slice().unwrap(), x.as_slice().unwrap());
            assert_eq!(y.decrypt(&key).unwrap().into_raw_vec_and_offset().0, expected, "{kind:?}");
        }
    }

    #[test]
    fn what_is_not_as_planned_is_refused() {
        let key = key();
        let plan = plan(LinearKind::Conv { kernel: [3; 3], stride: [1; 3], padding: [1; 3] }, [1, 2], [4; 3], [4; 3]);
        let x = tensor(&[1, 4, 4, 4], 5);
        let there = EncryptedTensor::encrypt(x.view(), &plan.input().unwrap(), &key, &mut prng(7)).unwrap();
        let refused = |tensor: &EncryptedTensor, weights: ArrayD<i32>| {
            let error = tensor.apply(&plan, weights.view()).err().expect("an error").to_string();
            assert!(error.contains("layer enc.0.0"), "{error}");
        };
        refused(&there, ArrayD::zeros(IxDyn(&[1, 2, 3, 3, 3])));
        refused(&there, ArrayD::from_elem(IxDyn(&[2, 1, 3, 3, 3]), 2049));
        let line = Layout::new(&[1, 4, 4, 4], 4096, 1, vec![Run::line(0, 0, 0, 64)]).unwrap();
        let elsewhere = EncryptedTensor::encrypt(x.view(), &line, &key, &mut prng(7)).unwrap();
        refused(&elsewhere, ArrayD::zeros(IxDyn(&[2, 1, 3, 3, 3])));
    }
}
