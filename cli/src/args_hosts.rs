//! Flags of the commands that two hosts need.

use std::net::SocketAddr;
use std::path::PathBuf;

use blindvox_protocols::infer::LinkSpeed;
use clap::Args;

use crate::size::Size;

/// Where a service is, who this client is, and whom it trusts.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct RemoteArgs {
    /// Run on this service, in the place of one in this process.
    #[arg(long, value_name = "HOST:PORT", env = "BLINDVOX_SERVER")]
    pub server: Option<String>,
    /// Who this client is: NAME.pem of `blindvox keygen`.
    #[arg(long, value_name = "ID.pem", env = "BLINDVOX_IDENTITY")]
    pub identity: Option<PathBuf>,
    /// Whom it trusts to be the service: its .crt, its fingerprint bv1:..., or ca:FILE with --name.
    #[arg(long, value_name = "PEER", env = "BLINDVOX_TRUST")]
    pub trust: Option<String>,
    /// The service's DNS name in its certificate, with --trust ca:FILE.
    #[arg(long, value_name = "DNS")]
    pub name: Option<String>,
    /// How often a run is tried again after the connection was lost, from the start, with new keys.
    #[arg(long, value_name = "N", default_value_t = 2)]
    pub retries: u32,
}

/// Flags of `keygen`.
#[derive(Args)]
pub(crate) struct KeygenArgs {
    /// What this host is called: its files are NAME.pem and NAME.crt.
    #[arg(long)]
    pub name: String,
    /// Where they are written.
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub out: PathBuf,
    /// How long it is valid.
    #[arg(long, default_value_t = 825)]
    pub days: u32,
    /// Replace files that are there.
    #[arg(long)]
    pub force: bool,
}

/// Flags of `fingerprint`.
#[derive(Args)]
pub(crate) struct FingerprintArgs {
    /// The certificate.
    #[arg(value_name = "FILE.crt")]
    pub certificate: PathBuf,
}

/// Flags of `serve`.
#[derive(Args)]
pub(crate) struct ServeArgs {
    /// What is served, and to whom.
    #[arg(long, value_name = "service.toml")]
    pub config: PathBuf,
    /// Only read and check all of it.
    #[arg(long)]
    pub check: bool,
}

/// Flags of `deal`.
#[derive(Args)]
pub(crate) struct DealArgs {
    /// Where services and their clients connect.
    #[arg(long, value_name = "HOST:PORT", default_value = "0.0.0.0:7444")]
    pub listen: SocketAddr,
    /// Who this dealer is: NAME.pem of `blindvox keygen`.
    #[arg(long, value_name = "ID.pem", env = "BLINDVOX_IDENTITY")]
    pub identity: PathBuf,
    /// A service that it deals for, once for each: its .crt or its fingerprint bv1:... Clients are those that it names.
    #[arg(long, value_name = "PEER", required = true)]
    pub service: Vec<String>,
    /// Sessions at a time.
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub sessions: u32,
    /// Memory that each of them may take, as 512MiB or 2GiB.
    #[arg(long, value_name = "SIZE", default_value = "1GiB")]
    pub memory: Size,
}

/// Flags of `models`.
#[derive(Args)]
pub(crate) struct ModelsArgs {
    /// The service.
    #[command(flatten)]
    pub remote: RemoteArgs,
}

/// Flags of `health`.
#[derive(Args)]
pub(crate) struct HealthArgs {
    /// Where the service on this machine says how it is.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:9464")]
    pub admin: SocketAddr,
}

/// Flags of `audit`.
#[derive(Args)]
pub(crate) struct AuditArgs {
    /// Logs to check.
    #[arg(value_name = "LOG", required = true)]
    pub logs: Vec<PathBuf>,
    /// They are a federation's: also check who signed them, and that they agree.
    #[arg(long, value_name = "federation.toml")]
    pub roster: Option<PathBuf>,
}

/// Flags of `estimate`.
#[derive(Args)]
pub(crate) struct EstimateArgs {
    /// The model: a directory with model.json and weights.safetensors.
    #[arg(short, long, value_name = "BUNDLE")]
    pub model: PathBuf,
    /// The grid that is labelled, D x H x W; the model's own unless given.
    #[arg(long, value_name = "DxHxW")]
    pub dims: Option<Dims>,
    /// The link, as 1Gbit,20ms; else three are shown.
    #[arg(long, value_name = "RATE,RTT")]
    pub link: Option<LinkSpeed>,
    /// Write the figures here.
    #[arg(long, value_name = "E.json")]
    pub json: Option<PathBuf>,
}

/// A grid, as 160x160x96.
#[derive(Clone, Copy)]
pub(crate) struct Dims(pub [usize; 3]);

impl std::str::FromStr for Dims {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let sides: Vec<usize> = text.split('x').filter_map(|side| side.parse().ok().filter(|d| *d > 0)).collect();
        let whole = text.split('x').count() == 3;
        match sides[..] {
            [d, h, w] if whole => Ok(Self([d, h, w])),
            _ => Err(format!("found {text}, expected three sides as in 160x160x96")),
        }
    }
}
