//! Flags of runs under CKKS.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use crate::gpu::BackendChoice;

/// A set of parameters of CKKS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum CkksPreset {
    /// Scores are flooded by 2^20 times their error.
    #[default]
    Balanced,
    /// Several times faster; scores do not hide the weights.
    Fast,
}

/// A published system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum SystemChoice {
    /// On shares: homomorphic convolutions, garbled circuits.
    Bunet,
    /// Wholly under homomorphic encryption, in one round trip.
    Ckks,
}

/// Flags of `classify`.
#[derive(Args)]
pub(crate) struct ClassifyArgs {
    /// The model: a directory with model.json and weights.safetensors.
    #[arg(short, long, value_name = "BUNDLE")]
    pub model: PathBuf,
    /// The images, prepared: an array (.npy) [images, channels, H, W].
    #[arg(short, long, value_name = "IN.npy")]
    pub input: PathBuf,
    /// Write classes and scores here: CSV, a line an image.
    #[arg(short, long, value_name = "OUT.csv")]
    pub output: Option<PathBuf>,
    /// The system; there is one for images.
    #[arg(long, default_value = "ckks", value_parser = ["ckks"])]
    pub system: String,
    /// The set of parameters.
    #[arg(long, value_enum, default_value_t)]
    pub preset: CkksPreset,
    /// Where the engine's kernels run.
    #[arg(long, value_enum, default_value_t)]
    pub backend: BackendChoice,
    /// The GPU to take: part of its name, as `blindvox doctor` lists it.
    #[arg(long, value_name = "NAME")]
    pub adapter: Option<String>,
    /// True classes by number, an array (.npy): prints how many are right.
    #[arg(long, value_name = "TRUTH.npy")]
    pub labels: Option<PathBuf>,
    /// Also run the float network in the clear and compare.
    #[arg(long)]
    pub compare: bool,
    /// Write scores that are not to be trusted, too.
    #[arg(long)]
    pub force: bool,
    /// Write the measurements here.
    #[arg(long, value_name = "R.json")]
    pub report: Option<PathBuf>,
    /// Print nothing but warnings and errors.
    #[arg(short, long, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Also print what the run was made of.
    #[arg(short, long)]
    pub verbose: bool,
    /// Fix all randomness, so that runs repeat bit for bit. NOT SECRET: for tests.
    #[arg(long, value_name = "N", hide = true)]
    pub insecure_test_seed: Option<u64>,
}

/// A run under CKKS by files: one round trip needs no connection.
#[derive(Subcommand)]
pub(crate) enum CkksCommand {
    /// Service: write what clients must know of a model.
    Public(CkksPublic),
    /// Client: make a secret key, and keys for the service.
    Keys(CkksKeys),
    /// Client: encrypt prepared inputs.
    Encrypt(CkksEncrypt),
    /// Service: evaluate the model on encrypted inputs.
    Evaluate(CkksEvaluate),
    /// Client: decrypt scores.
    Decrypt(CkksDecrypt),
}

/// Flags of `ckks public`.
#[derive(Args)]
pub(crate) struct CkksPublic {
    /// The model: a directory with model.json and weights.safetensors.
    #[arg(short, long, value_name = "BUNDLE")]
    pub model: PathBuf,
    /// The set of parameters.
    #[arg(long, value_enum, default_value_t)]
    pub preset: CkksPreset,
    /// The file to write.
    #[arg(short, long, value_name = "PUBLIC.bin")]
    pub output: PathBuf,
}

/// Flags of `ckks keys`.
#[derive(Args)]
pub(crate) struct CkksKeys {
    /// What the service says of its model.
    #[arg(short, long, value_name = "PUBLIC.bin")]
    pub public: PathBuf,
    /// The secret key to write; it stays here.
    #[arg(short, long, value_name = "SECRET.key")]
    pub secret: PathBuf,
    /// The keys for the service.
    #[arg(short, long, value_name = "KEYS.bin")]
    pub output: PathBuf,
}

/// Flags of `ckks encrypt`.
#[derive(Args)]
pub(crate) struct CkksEncrypt {
    /// What the service says of its model.
    #[arg(short, long, value_name = "PUBLIC.bin")]
    pub public: PathBuf,
    /// The secret key.
    #[arg(short, long, value_name = "SECRET.key")]
    pub secret: PathBuf,
    /// The inputs, prepared: an array (.npy), the last dimensions those of the model.
    #[arg(short, long, value_name = "IN.npy")]
    pub input: PathBuf,
    /// The file to write.
    #[arg(short, long, value_name = "INPUT.bin")]
    pub output: PathBuf,
}

/// Flags of `ckks evaluate`.
#[derive(Args)]
pub(crate) struct CkksEvaluate {
    /// The model: a directory with model.json and weights.safetensors.
    #[arg(short, long, value_name = "BUNDLE")]
    pub model: PathBuf,
    /// The set of parameters.
    #[arg(long, value_enum, default_value_t)]
    pub preset: CkksPreset,
    /// The client's keys.
    #[arg(short, long, value_name = "KEYS.bin")]
    pub keys: PathBuf,
    /// Its inputs.
    #[arg(short, long, value_name = "INPUT.bin")]
    pub input: PathBuf,
    /// The file to write.
    #[arg(short, long, value_name = "RESULT.bin")]
    pub output: PathBuf,
}

/// Flags of `ckks decrypt`.
#[derive(Args)]
pub(crate) struct CkksDecrypt {
    /// What the service says of its model.
    #[arg(short, long, value_name = "PUBLIC.bin")]
    pub public: PathBuf,
    /// The secret key.
    #[arg(short, long, value_name = "SECRET.key")]
    pub secret: PathBuf,
    /// The service's results.
    #[arg(short, long, value_name = "RESULT.bin")]
    pub input: PathBuf,
    /// The scores to write: an array (.npy) [inputs, classes, D, H, W].
    #[arg(short, long, value_name = "SCORES.npy")]
    pub output: PathBuf,
    /// Write scores that are not to be trusted, too.
    #[arg(long)]
    pub force: bool,
}
