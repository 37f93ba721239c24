//! Commands of `federate`, and flags of those that meet other hosts.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use crate::args_federate::{AverageArgs, FederateDemoArgs, Precision, RosterArgs, SchemeChoice};
use crate::gpu::BackendChoice;

/// Flags of `federate`.
#[derive(Args)]
pub(crate) struct FederateArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: FederateCommand,
}

/// What to do.
#[derive(Subcommand)]
pub(crate) enum FederateCommand {
    /// Write down who is in a federation, from certificates of `keygen`.
    Roster(RosterArgs),
    /// Make a dealer's keys for paillier: whoever does could decrypt everything.
    Ceremony(CeremonyArgs),
    /// Add what can't be read, for the members of a federation.
    Serve(Box<FederateServeArgs>),
    /// Take part in a federation: train in each round.
    Join(JoinArgs),
    /// Hand in a model that was trained from the one of `fetch`, for who trains by other means.
    Submit(SubmitArgs),
    /// Get the model to train, or the last one, and do what the round asks for until then.
    Fetch(FetchArgs),
    /// Say how the round stands.
    Status(StatusArgs),
    /// Average models of one base under encryption, all parties in this process.
    Average(AverageArgs),
    /// Three hospitals train a network on a table together, all parties in this process.
    Demo(FederateDemoArgs),
}

/// Who a party is and what it has.
#[derive(Args)]
pub(crate) struct PartyArgs {
    /// Who is in the federation.
    #[arg(long, value_name = "federation.toml")]
    pub roster: PathBuf,
    /// Who this party is: NAME.pem of `blindvox keygen`.
    #[arg(long, value_name = "ID.pem", env = "BLINDVOX_IDENTITY")]
    pub identity: PathBuf,
    /// The folder of what this party has written down: it goes on from there.
    #[arg(long, value_name = "DIR")]
    pub state: PathBuf,
    /// The folder of a dealer's keys, for paillier: paillier.key and, of a holder, NAME.share.
    #[arg(long, value_name = "DIR")]
    pub keys: Option<PathBuf>,
    /// Where the engine's kernels run.
    #[arg(long, value_enum, default_value_t)]
    pub backend: BackendChoice,
    /// The GPU to take: part of its name, as `blindvox doctor` lists it.
    #[arg(long, value_name = "NAME")]
    pub adapter: Option<String>,
}

/// A member and where it calls.
#[derive(Args)]
pub(crate) struct MemberArgs {
    /// Who it is.
    #[command(flatten)]
    pub party: PartyArgs,
    /// Where the aggregator is.
    #[arg(long, value_name = "HOST:PORT", env = "BLINDVOX_SERVER")]
    pub server: String,
    /// Call for so long where nobody answers.
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    pub patience: u32,
}

/// Flags of `federate ceremony`.
#[derive(Args)]
pub(crate) struct CeremonyArgs {
    /// Who is in the federation.
    #[arg(long, value_name = "federation.toml")]
    pub roster: PathBuf,
    /// Who deals: somebody of the roster.
    #[arg(long, value_name = "ID.pem", env = "BLINDVOX_IDENTITY")]
    pub identity: PathBuf,
    /// Bits of the key: 2048 (112-bit security) or 3072 (128).
    #[arg(long, default_value_t = 2048)]
    pub bits: usize,
    /// The folder to write: paillier.key for all, and NAME.share for each holder.
    #[arg(short, long, value_name = "DIR")]
    pub output: PathBuf,
}

/// Who opens the average.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum AudienceChoice {
    /// The clients alone.
    #[default]
    Clients,
    /// The aggregator too.
    Everyone,
}

/// Flags of `federate serve`.
#[derive(Args)]
pub(crate) struct FederateServeArgs {
    /// Who it is.
    #[command(flatten)]
    pub party: PartyArgs,
    /// The model that the first round trains.
    #[arg(long, value_name = "INIT.safetensors")]
    pub model: PathBuf,
    /// Rounds of the run.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub rounds: u32,
    /// Where members call.
    #[arg(long, value_name = "HOST:PORT")]
    pub listen: SocketAddr,
    /// How sums are hidden.
    #[arg(long, value_enum, default_value_t)]
    pub scheme: SchemeChoice,
    /// Bits of an encoded number: as many as fit three times (fine) or four times (compact) into a coefficient, or a number.
    #[arg(long, value_name = "fine|compact|BITS", default_value = "fine")]
    pub precision: Precision,
    /// Hold changes of a weight to [-C, C] in the first round; later rounds follow the last average.
    #[arg(long, value_name = "C", default_value_t = 1.0)]
    pub clip: f64,
    /// The most examples that a member counts with.
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    pub most_examples: u64,
    /// Leave tensors whose whole name this regular expression matches to each member.
    #[arg(long, value_name = "REGEX")]
    pub exclude: Option<String>,
    /// Who opens the average.
    #[arg(long, value_enum, default_value_t)]
    pub audience: AudienceChoice,
    /// Let holders prove that their answers are right (paillier alone).
    #[arg(long)]
    pub prove: bool,
    /// How long is waited for those who stay away, at each step of a round.
    #[arg(long, value_name = "SECONDS", default_value_t = 3600, value_parser = clap::value_parser!(u32).range(1..))]
    pub round_timeout: u32,
    /// Begin the round anew: another attempt, or the next round where this one's updates are closed.
    #[arg(long)]
    pub again: bool,
}

/// Flags of `federate join`.
#[derive(Args)]
pub(crate) struct JoinArgs {
    /// Who it is.
    #[command(flatten)]
    pub member: MemberArgs,
    /// What trains: {base} is the model's file, {out} the one to write, {round} the round.
    #[arg(long, value_name = "COMMAND")]
    pub train: String,
    /// The examples that it trains on, where {out} doesn't say so in its metadata.
    #[arg(long, value_name = "N")]
    pub examples: Option<u64>,
    /// Write the last model here.
    #[arg(short, long, value_name = "OUT.safetensors")]
    pub output: Option<PathBuf>,
}

/// Flags of `federate submit`.
#[derive(Args)]
pub(crate) struct SubmitArgs {
    /// The model that was trained from the one of `fetch`.
    #[arg(value_name = "MODEL.safetensors")]
    pub model: PathBuf,
    /// Who it is.
    #[command(flatten)]
    pub member: MemberArgs,
    /// The examples that it was trained on, where its metadata doesn't say so.
    #[arg(long, value_name = "N")]
    pub examples: Option<u64>,
}

/// Flags of `federate fetch`.
#[derive(Args)]
pub(crate) struct FetchArgs {
    /// Who it is.
    #[command(flatten)]
    pub member: MemberArgs,
    /// The model to train, or the last one.
    #[arg(short, long, value_name = "OUT.safetensors")]
    pub output: PathBuf,
}

/// Flags of `federate status`.
#[derive(Args)]
pub(crate) struct StatusArgs {
    /// Who is in the federation.
    #[arg(long, value_name = "federation.toml")]
    pub roster: PathBuf,
    /// Who asks: a member.
    #[arg(long, value_name = "ID.pem", env = "BLINDVOX_IDENTITY")]
    pub identity: PathBuf,
    /// Where the aggregator is.
    #[arg(long, value_name = "HOST:PORT", env = "BLINDVOX_SERVER")]
    pub server: String,
}
