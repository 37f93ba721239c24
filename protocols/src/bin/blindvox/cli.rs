//! Commands and flags.

use std::path::PathBuf;

use blindvox_engine::garble::GateHash;
use blindvox_protocols::gc::GatePlace;
use clap::{Args, Parser, Subcommand, ValueEnum};

/// Secure segmentation of medical volumes. Without a command: the demo.
#[derive(Parser)]
#[command(version, about, long_about = None)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// What to do.
#[derive(Subcommand)]
pub enum Command {
    /// Segment a volume by the two-party protocol, both parties in this process.
    Segment(SegmentArgs),
    /// Run the same fixed-point network without cryptography.
    Plain(PlainArgs),
    /// Choose each tensor's scale from volumes and write it into the bundle.
    Calibrate(CalibrateArgs),
    /// List CPU features, backends and adapters.
    Doctor,
}

/// Where the engine's kernels run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum BackendChoice {
    /// Main memory and all cores.
    #[default]
    Cpu,
    /// The first usable GPU adapter.
    Gpu,
}

/// How ReLU and max pooling are computed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum ComparisonChoice {
    /// The sign by a garbled circuit, the selection by oblivious transfer.
    #[default]
    SignSelect,
    /// All of it in the garbled circuit, as in BUNET.
    FullCircuit,
}

/// The hash of garbled gates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum GateHashChoice {
    /// AES-128: the fastest on processors with AES instructions.
    #[default]
    Aes,
    /// ChaCha12: no table look-ups on a GPU.
    Chacha12,
}

impl From<GateHashChoice> for GateHash {
    fn from(choice: GateHashChoice) -> Self {
        match choice {
            GateHashChoice::Aes => Self::Aes,
            GateHashChoice::Chacha12 => Self::ChaCha12,
        }
    }
}

/// Where gates are garbled and evaluated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum GarbleChoice {
    /// AES on a CPU with AES instructions, else on the backend's device, unless that is a software one.
    #[default]
    Auto,
    /// On the CPU.
    Cpu,
    /// On the backend's device, also a software one.
    Device,
}

impl From<GarbleChoice> for GatePlace {
    fn from(choice: GarbleChoice) -> Self {
        match choice {
            GarbleChoice::Auto => Self::Auto,
            GarbleChoice::Cpu => Self::Cpu,
            GarbleChoice::Device => Self::Device,
        }
    }
}

/// Flags of `segment`.
#[derive(Args)]
pub struct SegmentArgs {
    /// The model: a directory with model.json and weights.safetensors.
    #[arg(short, long, value_name = "BUNDLE")]
    pub model: PathBuf,
    /// The volume, NIfTI.
    #[arg(short, long, value_name = "IN.nii.gz")]
    pub input: PathBuf,
    /// The label map to write, NIfTI on the input's grid.
    #[arg(short, long, value_name = "OUT.nii.gz")]
    pub output: PathBuf,
    /// Where the engine's kernels run.
    #[arg(long, value_enum, default_value_t)]
    pub backend: BackendChoice,
    /// How ReLU and max pooling are computed.
    #[arg(long, value_enum, default_value_t)]
    pub comparison: ComparisonChoice,
    /// The hash of garbled gates.
    #[arg(long, value_enum, default_value_t)]
    pub gate_hash: GateHashChoice,
    /// Where gates are garbled and evaluated; the bytes sent are the same.
    #[arg(long, value_enum, default_value_t)]
    pub garble: GarbleChoice,
    /// Write the measurements here.
    #[arg(long, value_name = "R.json")]
    pub report: Option<PathBuf>,
    /// Draw the result here.
    #[arg(long, value_name = "P.png")]
    pub preview: Option<PathBuf>,
    /// True labels, for Dice.
    #[arg(long, value_name = "TRUTH.nii.gz")]
    pub labels: Option<PathBuf>,
    /// Also run the integer and the float network in the clear and count differing labels.
    #[arg(long)]
    pub compare: bool,
    /// Print nothing but errors.
    #[arg(short, long, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Also print the plan of every linear layer.
    #[arg(short, long)]
    pub verbose: bool,
    /// Fix all randomness, so that runs repeat bit for bit. NOT SECRET: for tests.
    #[arg(long, value_name = "N", hide = true)]
    pub insecure_test_seed: Option<u64>,
}

/// Flags of `plain`.
#[derive(Args)]
pub struct PlainArgs {
    /// The model: a directory with model.json and weights.safetensors.
    #[arg(short, long, value_name = "BUNDLE")]
    pub model: PathBuf,
    /// The volume, NIfTI.
    #[arg(short, long, value_name = "IN.nii.gz")]
    pub input: PathBuf,
    /// The label map to write.
    #[arg(short, long, value_name = "OUT.nii.gz")]
    pub output: Option<PathBuf>,
    /// True labels, for Dice.
    #[arg(long, value_name = "TRUTH.nii.gz")]
    pub labels: Option<PathBuf>,
}

/// Flags of `calibrate`.
#[derive(Args)]
pub struct CalibrateArgs {
    /// The model: a directory with model.json and weights.safetensors; model.json is rewritten.
    #[arg(short, long, value_name = "BUNDLE")]
    pub model: PathBuf,
    /// Volumes like those the model will see.
    #[arg(required = true, value_name = "VOLUME.nii.gz")]
    pub volumes: Vec<PathBuf>,
    /// How often the largest value seen may double before it overflows.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=8))]
    pub spare_bits: u32,
}
