//! The protocols of a run, as its [`Ways`](crate::infer::Ways) name them.

use blindvox_engine::bfv::{Params, PublicKey, SecretKey};
use blindvox_engine::{Device, Prng};
use blindvox_models::Linear;
use blindvox_net::channel::{Channel, Party};

use crate::error::Result;
use crate::linear::{Bias, Model, Plan, hom_conv};
use crate::nonlinear::Nonlinear;
use crate::peer::{Link, Peer};
use crate::share::Shares;

/// What the steps of a run call.
pub(super) struct Protocols {
    pub(super) linear: LinearKey,
    pub(super) nonlinear: Nonlinear,
}

/// The HE key for convolutions, as each party has it.
pub(super) enum LinearKey {
    /// The client decrypts.
    Secret(SecretKey),
    /// The server re-randomises.
    Public(PublicKey),
}

impl LinearKey {
    /// The client's, of which the server gets the public one.
    pub(super) fn exchange(party: Party, channel: &mut Channel, device: &Device, prng: &mut Prng) -> Result<Self> {
        let params = Params::hom_conv();
        Ok(match party {
            Party::Client => {
                let key = SecretKey::generate(&params, device, prng)?;
                channel.send(key.public_key(prng)?.to_bytes())?;
                Self::Secret(key)
            }
            Party::Server => {
                let bytes = channel.recv_exact(PublicKey::wire_len(&params))?;
                Self::Public(PublicKey::from_bytes(&params, device, &bytes)?)
            }
        })
    }

    /// Shares mod 2^32 of a linear step's sums, bias included, from shares of its joined inputs.
    pub(super) fn sums(&self, peer: &mut Peer, plan: &Plan, linear: &Linear, x: &[u32]) -> Result<Shares> {
        let Link { channel, prng, .. } = &mut peer.link;
        match self {
            Self::Secret(key) => hom_conv::client(channel, key, prng, plan, x),
            Self::Public(key) => {
                let values = bias(linear);
                let bias = if linear.bias_map.is_some() { Bias::Map(&values) } else { Bias::Channel(&values) };
                hom_conv::server(channel, key, prng, plan, Model { weights: &linear.weights, bias }, x)
            }
        }
    }
}

/// A linear step's bias at every position, mod 2^32: one a channel, or `[out_channels, D, H, W]`.
fn bias(linear: &Linear) -> Vec<u32> {
    let residue = |x: i32| x as u32;
    match &linear.bias_map {
        None => linear.bias.iter().copied().map(residue).collect(),
        Some(map) => {
            let voxels = map.len() / linear.out_channels.max(1);
            map.iter().enumerate().map(|(i, &b)| residue(b.wrapping_add(linear.bias[i / voxels]))).collect()
        }
    }
}
