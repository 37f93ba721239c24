//! Flags of `federate` commands in one process, and what all of them choose from.

use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, ValueEnum};

use crate::gpu::BackendChoice;

/// How sums are hidden.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum SchemeChoice {
    /// Not at all: the integers that the others must come to.
    Plain,
    /// Additive RLWE encryption under one-time keys.
    #[default]
    Rlwe,
    /// Threshold Paillier of 2048 bits under a dealer's key, as published: 112-bit security.
    Paillier,
}

impl SchemeChoice {
    /// Its name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Rlwe => "rlwe",
            Self::Paillier => "paillier",
        }
    }
}

/// Bits of an encoded number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Precision {
    /// Three numbers in a coefficient.
    Fine,
    /// Four.
    Compact,
    /// So many bits.
    Bits(u32),
}

impl FromStr for Precision {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "fine" => Ok(Self::Fine),
            "compact" => Ok(Self::Compact),
            _ => text.parse().map(Self::Bits).map_err(|_| "expected fine, compact or a number of bits".to_owned()),
        }
    }
}

/// Flags of `federate roster`.
#[derive(Args)]
pub(crate) struct RosterArgs {
    /// The members' certificates.
    #[arg(required = true, value_name = "MEMBER.crt")]
    pub members: Vec<PathBuf>,
    /// The aggregator's certificate.
    #[arg(long, value_name = "AGGREGATOR.crt")]
    pub aggregator: PathBuf,
    /// Holders that open a sum together: more than half of the holders, which are the first 16 members.
    #[arg(long, value_name = "T")]
    pub threshold: Option<usize>,
    /// The fewest updates in a sum that is opened.
    #[arg(long, value_name = "K", default_value_t = 3)]
    pub min_clients: usize,
    /// The roster to write.
    #[arg(short, long, value_name = "federation.toml")]
    pub output: PathBuf,
}

/// Flags of `federate average`.
#[derive(Args)]
pub(crate) struct AverageArgs {
    /// The models, safetensors: the number of examples is metadata `examples`.
    #[arg(required = true, value_name = "MODEL.safetensors")]
    pub models: Vec<PathBuf>,
    /// The model that they were trained from; the first of them where it isn't said.
    #[arg(long, value_name = "BASE.safetensors")]
    pub base: Option<PathBuf>,
    /// How sums are hidden.
    #[arg(long, value_enum, default_value_t)]
    pub scheme: SchemeChoice,
    /// Bits of an encoded number: as many as fit three times (fine) or four times (compact) into a coefficient, or a number.
    #[arg(long, value_name = "fine|compact|BITS", default_value = "fine")]
    pub precision: Precision,
    /// Hold changes of a weight to [-C, C]; a power of two above the largest of each tensor where it isn't said.
    #[arg(long, value_name = "C")]
    pub clip: Option<f64>,
    /// Each model's number of examples, in the place of what the files say.
    #[arg(long, value_name = "N,..", value_delimiter = ',')]
    pub examples: Option<Vec<u64>>,
    /// Let holders prove that their answers are right (paillier alone).
    #[arg(long)]
    pub prove: bool,
    /// Keep tensors whose whole name this regular expression matches as the base has them.
    #[arg(long, value_name = "REGEX")]
    pub exclude: Option<String>,
    /// Where the engine's kernels run.
    #[arg(long, value_enum, default_value_t)]
    pub backend: BackendChoice,
    /// The GPU to take: part of its name, as `blindvox doctor` lists it.
    #[arg(long, value_name = "NAME")]
    pub adapter: Option<String>,
    /// The average to write.
    #[arg(short, long, value_name = "OUT.safetensors")]
    pub output: PathBuf,
}

/// Flags of `federate demo`.
#[derive(Args)]
pub(crate) struct FederateDemoArgs {
    /// Rounds of training.
    #[arg(long, default_value_t = 12, value_parser = clap::value_parser!(u32).range(1..=200))]
    pub rounds: u32,
    /// Bits of an encoded number.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(13..=28))]
    pub bits: u32,
}
