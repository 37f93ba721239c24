//! Both halves over a channel: one round trip a run.

use std::sync::Arc;
use std::time::{Duration, Instant};

use blindvox_engine::{Device, Prng};
use blindvox_net::channel::{Channel, Party};

use super::client::{Client, KeySet, Scores};
use super::public::{MAX_PUBLIC, Public};
use super::service::{ClientKeys, KeyStore, Models, evaluate};
use crate::error::{Error, Result};
use crate::infer::options::Randomness;
use crate::infer::report::StepCost;

/// The first bytes of a run, its version among them.
const MAGIC: [u8; 8] = *b"bvslots1";
/// Inputs of one run at most.
pub const MAX_IMAGES: usize = 64;
/// Bytes of a preset's name at most.
const MAX_NAME: usize = 32;
/// How long a client waits for an evaluation, which is one silence.
const PATIENCE: Duration = Duration::from_secs(3600);
/// Bytes of an input at most; of keys as many as the model takes.
const MAX_INPUT: usize = 1 << 31;

/// What each party chooses.
#[derive(Clone)]
pub struct Choice {
    /// Where kernels run.
    pub device: Device,
    /// Where secrets come from.
    pub randomness: Randomness,
}

/// What a run gave the client.
pub struct Outcome {
    /// By input.
    pub scores: Vec<Scores>,
    /// What each phase cost.
    pub setup: Vec<StepCost>,
    /// What the run itself cost.
    pub online: Vec<StepCost>,
    /// Bytes of keys, inputs and results.
    pub bytes: [usize; 3],
    /// Receives that found nothing there.
    pub waits: u64,
    /// BLAKE3 of what was sent, with fixed randomness.
    pub transcript: Option<[u8; 32]>,
}

/// A client that has met its service.
pub struct Visit {
    channel: Channel,
    client: Client,
    prng: Prng,
    costs: Costs,
}

/// What phases cost.
struct Costs {
    start: Instant,
    before: blindvox_net::channel::Traffic,
    all: Vec<StepCost>,
}

impl Costs {
    fn new(channel: &Channel) -> Self {
        Self { start: Instant::now(), before: channel.stats().total, all: Vec::new() }
    }

    fn phase(&mut self, channel: &Channel, name: &str, kind: &'static str) {
        let (now, mut traffic) = (channel.stats().total, channel.stats().total);
        traffic.sent -= self.before.sent;
        traffic.received -= self.before.received;
        traffic.rounds -= self.before.rounds;
        self.all.push(StepCost { name: name.to_owned(), kind, time: self.start.elapsed(), traffic });
        (self.start, self.before) = (Instant::now(), now);
    }
}

fn send_all(channel: &mut Channel, parts: &[Vec<u8>]) -> Result<()> {
    parts.iter().try_for_each(|part| Ok(channel.send_pod::<u8>(part)?))
}

impl Visit {
    /// Says what is wanted, and learns what the model is.
    ///
    /// # Errors
    /// [`Error::Protocol`] for a service that speaks otherwise; the channel's.
    pub fn new(mut channel: Channel, choice: &Choice, preset: &str, images: usize) -> Result<Self> {
        if images == 0 || images > MAX_IMAGES || preset.len() > MAX_NAME {
            return Err(Error::Input(format!("found {images} inputs, expected 1 to {MAX_IMAGES}")));
        }
        if let Randomness::FixedForTests(_) = choice.randomness {
            channel.record_transcript();
        }
        channel.set_timeout(PATIENCE);
        let mut prng = choice.randomness.prng(Party::Client)?;
        let mut costs = Costs::new(&channel);
        channel.set_phase("setup");
        channel.send([&MAGIC[..], &(images as u32).to_le_bytes(), preset.as_bytes()].concat())?;
        let public = channel.recv()?;
        let public = Public::from_bytes(&public)?;
        if public.preset != preset {
            return Err(Error::protocol(format!("a model of preset {:?}, {preset:?} was asked for", public.preset)));
        }
        let client = Client::new(public, &choice.device, &mut prng)?;
        costs.phase(&channel, "public part", "meeting");
        Ok(Self { channel, client, prng, costs })
    }

    /// The model as it is known here.
    pub fn public(&self) -> &Public {
        self.client.public()
    }

    /// Sends keys and inputs, and decrypts what comes back. Nothing that it finds out is told to the service.
    ///
    /// # Errors
    /// [`Error::Input`] for inputs of another size, before any is sent; the channel's.
    pub fn run(mut self, images: &[&[f32]]) -> Result<Outcome> {
        let channel = &mut self.channel;
        let encrypt = |image: &&[f32]| self.client.encrypt(image, &mut self.prng);
        let inputs = images.iter().map(encrypt).collect::<Result<Vec<_>>>()?.concat();
        self.costs.phase(channel, "encryption", "input");
        let keys = self.client.keys(&mut self.prng)?;
        let digest = keys.digest();
        channel.send(digest.to_vec())?;
        let known = channel.recv_exact(1)?[0];
        let keys_bytes = keys.evaluation.len() + keys.public.len();
        if known == 0 {
            channel.send_pod(&[keys.evaluation.len() as u64, keys.public.len() as u64])?;
            send_all(channel, &[keys.evaluation, keys.public])?;
        }
        channel.recv_exact(1)?;
        self.costs.phase(channel, "keys", "setup");
        channel.set_phase("online");
        send_all(channel, &inputs)?;
        let (count, len) = (images.len() * self.client.public().results(), self.client.result_len()?);
        let results = (0..count).map(|_| Ok(channel.recv_pod::<u8>(len)?)).collect::<Result<Vec<_>>>()?;
        // The end comes before decryption, so that what is found there has no influence on it.
        channel.finish()?;
        self.costs.phase(channel, "evaluation", "online");
        let each = self.client.public().results();
        let scores = results.chunks(each).map(|r| self.client.decrypt(r)).collect::<Result<Vec<_>>>()?;
        self.costs.phase(channel, "decryption", "result");
        let mut setup = self.costs.all;
        let online = setup.split_off(3);
        let encryption = setup.remove(1);
        let bytes = [keys_bytes, inputs.iter().map(Vec::len).sum(), results.iter().map(Vec::len).sum()];
        Ok(Outcome {
            scores,
            setup,
            online: [vec![encryption], online].concat(),
            bytes,
            waits: self.channel.stats().waits,
            transcript: self.channel.transcript_digest(),
        })
    }
}

/// What a service did for one client.
pub struct Served {
    /// The preset that was asked for.
    pub preset: String,
    /// Inputs.
    pub images: usize,
    /// BLAKE3 of what was sent, with fixed randomness.
    pub transcript: Option<[u8; 32]>,
}

/// Serves one client; `done` hears of each layer.
///
/// # Errors
/// [`Error::Protocol`] for a client that speaks otherwise, keys that don't suit, ciphertexts that are none; the
/// channel's.
pub fn serve(
    mut channel: Channel,
    models: &Models,
    store: &KeyStore,
    choice: &Choice,
    done: impl FnMut(&str),
) -> Result<Served> {
    if let Randomness::FixedForTests(_) = choice.randomness {
        channel.record_transcript();
    }
    channel.set_timeout(PATIENCE);
    let mut prng = choice.randomness.prng(Party::Server)?;
    let hello = channel.recv()?;
    let (Some(rest), true) = (hello.strip_prefix(&MAGIC), hello.len() <= MAGIC.len() + 4 + MAX_NAME) else {
        return Err(Error::protocol("the peer does not speak of slots, or not in this version"));
    };
    let (images, preset) = rest.split_first_chunk::<4>().ok_or_else(|| Error::protocol("a hello that ends early"))?;
    let images = u32::from_le_bytes(*images) as usize;
    let preset = String::from_utf8_lossy(preset).into_owned();
    if images == 0 || images > MAX_IMAGES {
        return Err(Error::protocol(format!("{images} inputs, at most {MAX_IMAGES} are expected")));
    }
    let model = models.get(&preset)?;
    let public = model.public().to_bytes()?;
    debug_assert!(public.len() <= MAX_PUBLIC);
    channel.send(public)?;
    let keys = receive_keys(&mut channel, model, store, &choice.device)?;
    channel.send(vec![1])?;
    let len = blindvox_engine::ckks::Seeded::wire_len(model.params());
    let count = images * model.public().inputs();
    if count.saturating_mul(len) > MAX_INPUT {
        return Err(Error::protocol(format!("{images} inputs of {len} bytes: too much for one run")));
    }
    let inputs = (0..count).map(|_| Ok(channel.recv_pod::<u8>(len)?)).collect::<Result<Vec<_>>>()?;
    let results = evaluate((model, &keys), &inputs, images, &mut prng, done)?;
    send_all(&mut channel, &results)?;
    channel.finish()?;
    Ok(Served { preset, images, transcript: channel.transcript_digest() })
}

fn receive_keys(
    channel: &mut Channel,
    model: &super::model::Model,
    store: &KeyStore,
    device: &Device,
) -> Result<Arc<ClientKeys>> {
    let digest: [u8; 32] = channel.recv_exact(32)?.try_into().unwrap_or_default();
    if let Some(keys) = store.get(&digest) {
        channel.send(vec![1])?;
        return Ok(keys);
    }
    channel.send(vec![0])?;
    let params = model.params();
    let expected = blindvox_engine::rlwe::EvalKeys::wire_len(params, &model.public().keys(params))?;
    let lens = channel.recv_pod::<u64>(2)?;
    // A set for this model, or nothing is taken.
    let most_public = 64 + params.basis().len() * params.n() * 8;
    if lens[0] != expected as u64 || lens[1] > most_public as u64 {
        let [evaluation, public] = [lens[0], lens[1]];
        return Err(Error::protocol(format!("keys of {evaluation} and {public} bytes where {expected} were expected")));
    }
    let keys = KeySet {
        evaluation: channel.recv_pod::<u8>(lens[0] as usize)?,
        public: channel.recv_pod::<u8>(lens[1] as usize)?,
    };
    if keys.digest() != digest {
        return Err(Error::protocol("keys of another digest than was said"));
    }
    let read = Arc::new(ClientKeys::read(&keys, model, device)?);
    store.keep(digest, read.clone());
    Ok(read)
}
