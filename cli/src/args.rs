//! Commands and flags.

use std::path::PathBuf;

use blindvox_engine::garble::GateHash;
use blindvox_models::data::nifti::Orientation;
use blindvox_protocols::gc::GatePlace;
use blindvox_protocols::infer::LinkSpeed;
use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::args_federate_hosts::FederateArgs;
use crate::args_hosts::{
    AuditArgs, DealArgs, EstimateArgs, FingerprintArgs, HealthArgs, KeygenArgs, ModelsArgs, RemoteArgs, ServeArgs,
};
use crate::args_slots::{CkksCommand, CkksPreset, ClassifyArgs, SystemChoice};
use crate::gpu::BackendChoice;
use crate::size::Size;

/// blindvox: a hospital gets a scan segmented by a service; the service never sees the scan, the hospital never sees
/// the model. Without a command: the demo
#[derive(Parser)]
#[command(name = "blindvox", version)]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// What to do.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Segment a volume by the two-party protocol, both parties in this process or with --server.
    Segment(Box<SegmentArgs>),
    /// Classify images under homomorphic encryption (CKKS), both parties in this process.
    Classify(ClassifyArgs),
    /// A run under CKKS by files.
    #[command(subcommand)]
    Ckks(CkksCommand),
    /// Classify the rows of a table on secret shares, all parties in this process.
    Predict(PredictArgs),
    /// Run the same fixed-point network without cryptography.
    Plain(PlainArgs),
    /// Turn an ONNX model, as PyTorch exports it, into a bundle; `calibrate` then makes it fit to run.
    Import(ImportArgs),
    /// Choose each tensor's scale from volumes and write it into the bundle.
    Calibrate(CalibrateArgs),
    /// Make an identity for this host: a key, and a certificate to give away.
    Keygen(KeygenArgs),
    /// Print a certificate's fingerprint.
    Fingerprint(FingerprintArgs),
    /// Let clients run models.
    Serve(ServeArgs),
    /// Deal correlated randomness for services and their clients: a third host, which colludes with neither.
    Deal(DealArgs),
    /// List what a service serves to this client.
    Models(ModelsArgs),
    /// Say whether the service on this machine is ready.
    Health(HealthArgs),
    /// Check that each line of a log follows the one before; of a federation's logs also who signed them and that they agree.
    Audit(AuditArgs),
    /// Say what runs of a model cost over links: bytes, waits, seconds, memory.
    Estimate(EstimateArgs),
    /// Train one model together: nobody sees another's update.
    Federate(FederateArgs),
    /// List CPU features, backends and adapters, and why one can't be used.
    Doctor(DoctorArgs),
}

/// How ReLU and max pooling are computed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum ComparisonChoice {
    /// What takes least time over --link; sign-select in one process.
    #[default]
    Auto,
    /// The sign by a garbled circuit, the selection by oblivious transfer.
    SignSelect,
    /// All of it in the garbled circuit, as in BUNET.
    FullCircuit,
    /// Tables, ANDs and the selection by oblivious transfer: the fewest bytes.
    Transfers,
}

/// What makes oblivious transfers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum OtChoice {
    /// What suits the link of --link at a service, else SoftSpoken.
    #[default]
    Auto,
    /// SoftSpoken: 4 bytes each over a link.
    Softspoken,
    /// Silent OT, from LPN: a bit each, more computing.
    Silent,
}

/// The hash of garbled gates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum GateHashChoice {
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
pub(crate) enum GarbleChoice {
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

/// How a volume is read.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct ReadingArgs {
    /// The way the axes run (RAS, LPS, ...) in a file that states no orientation.
    #[arg(long, value_name = "RAS")]
    pub assume: Option<Orientation>,
    /// Where the voxels of an array (.npy) lie: an array of 4x4 numbers, from indices to millimetres right, anterior and
    /// superior, as nibabel has it.
    #[arg(long, value_name = "A.npy")]
    pub affine: Option<PathBuf>,
    /// Read voxels that are not a number as this value.
    #[arg(long, value_name = "VALUE", allow_negative_numbers = true, value_parser = finite)]
    pub nan: Option<f64>,
    /// Label only the part of a larger volume that fits the network's grid, about its centre (else exit code 5 says
    /// so).
    #[arg(long)]
    pub crop: bool,
}

fn finite(text: &str) -> Result<f64, String> {
    let value = text.parse().ok().filter(|v: &f64| v.is_finite());
    value.ok_or_else(|| "expected a finite number".to_owned())
}

/// Flags of `segment`.
#[derive(Args)]
pub(crate) struct SegmentArgs {
    /// The model: a directory with model.json and weights.safetensors. With --server its name there, which may be left out
    /// where one is served.
    #[arg(short, long, value_name = "BUNDLE", required_unless_present = "server")]
    pub model: Option<PathBuf>,
    /// The service, where the model is not on this machine.
    #[command(flatten)]
    pub remote: RemoteArgs,
    /// The volume: NIfTI-1 or -2, compressed or not, one of a pair of .hdr and .img, or an array (.npy). Of a scan of several channels
    /// once for each, in the model's order, or one file of four dimensions, or the one that ends in _0000.
    #[arg(short, long, value_name = "IN.nii.gz", required = true)]
    pub input: Vec<PathBuf>,
    /// How it is read.
    #[command(flatten)]
    pub reading: ReadingArgs,
    /// The label map to write, NIfTI on the input's grid.
    #[arg(short, long, value_name = "OUT.nii.gz")]
    pub output: PathBuf,
    /// The system: `bunet` on shares where the model has scales for it, else `ckks`.
    #[arg(long, value_enum)]
    pub system: Option<SystemChoice>,
    /// The set of parameters of ckks: `balanced` where it isn't said.
    #[arg(long, value_enum)]
    pub preset: Option<CkksPreset>,
    /// With ckks: write labels that are not to be trusted, too.
    #[arg(long)]
    pub force: bool,
    /// Where the engine's kernels run.
    #[arg(long, value_enum, default_value_t)]
    pub backend: BackendChoice,
    /// The GPU to take: part of its name, as `blindvox doctor` lists it.
    #[arg(long, value_name = "NAME")]
    pub adapter: Option<String>,
    /// How ReLU and max pooling are computed.
    #[arg(long, value_enum, default_value_t)]
    pub comparison: ComparisonChoice,
    /// What makes oblivious transfers.
    #[arg(long, value_enum, default_value_t)]
    pub ot: OtChoice,
    /// Choose for a link of this rate and round trip, as 1Gbit,20ms.
    #[arg(long, value_name = "RATE,RTT")]
    pub link: Option<LinkSpeed>,
    /// Keep both halves of this run within so much memory, as 4GiB: a scan that needs more is labelled in slabs, to the
    /// same labels, with more bytes and time.
    #[arg(long, value_name = "SIZE")]
    pub memory: Option<Size>,
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
    /// Write each class's volume (ml), mean and bounding box here, and whether the scan cuts it off.
    #[arg(long, value_name = "S.json")]
    pub statistics: Option<PathBuf>,
    /// Write a mask of each class into this folder.
    #[arg(long, value_name = "DIR")]
    pub masks: Option<PathBuf>,
    /// True labels, for Dice: on the volume's grid, voxels stored in any order. One value over several of the model's
    /// classes is compared with all of them together.
    #[arg(long, value_name = "TRUTH.nii.gz")]
    pub labels: Option<PathBuf>,
    /// Also run the integer and the float network in the clear and count differing labels.
    #[arg(long)]
    pub compare: bool,
    /// Print nothing but warnings and errors.
    #[arg(short, long, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Also print the plan of every linear layer.
    #[arg(short, long)]
    pub verbose: bool,
    /// Fix all randomness, so that runs repeat bit for bit. NOT SECRET: for tests.
    #[arg(long, value_name = "N", hide = true)]
    pub insecure_test_seed: Option<u64>,
}

/// Where what two parties need in common comes from, and which protocols follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum PredictPreset {
    /// No dealer: homomorphic encryption and oblivious transfer.
    Silent,
    /// A dealer, one opening a comparison.
    Dealer,
    /// A dealer, activations as CryptMed published them: a baseline.
    Paper,
}

/// Flags of `predict`.
#[derive(Args)]
pub(crate) struct PredictArgs {
    /// The model: a directory with model.json and weights.safetensors. With --server its name there, which may be left out
    /// where one is served.
    #[arg(short, long, value_name = "BUNDLE", required_unless_present = "server")]
    pub model: Option<PathBuf>,
    /// The service, where the model is not on this machine.
    #[command(flatten)]
    pub remote: RemoteArgs,
    /// The rows: CSV with a line of names.
    #[arg(short, long, value_name = "ROWS.csv")]
    pub input: PathBuf,
    /// The classes to write: CSV, a line a row in the same order.
    #[arg(short, long, value_name = "OUT.csv")]
    pub output: PathBuf,
    /// Name rows by this column; by their number where it isn't said.
    #[arg(long, value_name = "COLUMN")]
    pub id: Option<String>,
    /// True classes, by name or number: prints the accuracy and who was taken for what.
    #[arg(long, value_name = "COLUMN")]
    pub labels: Option<String>,
    /// Also open the scores, where the model's owner lets the client learn them.
    #[arg(long)]
    pub scores: bool,
    /// Rows of one run.
    #[arg(long, value_name = "N", default_value_t = 1024, value_parser = clap::value_parser!(u32).range(1..=65536))]
    pub batch: u32,
    /// Who deals correlated randomness: a thread of this process, or with --server the service's dealer, a host of a third
    /// party. A dealer together with the hospital could read the model, together with the service the rows.
    #[arg(long, value_name = "local|HOST:PORT")]
    pub dealer: Option<String>,
    /// Whom this client trusts to be that dealer: its .crt or its fingerprint bv1:...
    #[arg(long, value_name = "PEER")]
    pub dealer_trust: Option<String>,
    /// Which protocols: `dealer` where there is one, else `silent`.
    #[arg(long, value_enum)]
    pub preset: Option<PredictPreset>,
    /// Also run the integer and the float network in the clear and count differing rows.
    #[arg(long)]
    pub compare: bool,
    /// Write the measurements here.
    #[arg(long, value_name = "R.json")]
    pub report: Option<PathBuf>,
    /// Print nothing but warnings and errors.
    #[arg(short, long, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Also print what each phase cost.
    #[arg(short, long)]
    pub verbose: bool,
    /// Fix all randomness, so that runs repeat bit for bit. NOT SECRET: for tests.
    #[arg(long, value_name = "N", hide = true)]
    pub insecure_test_seed: Option<u64>,
}

/// Flags of `plain`.
#[derive(Args)]
pub(crate) struct PlainArgs {
    /// The model: a directory with model.json and weights.safetensors.
    #[arg(short, long, value_name = "BUNDLE")]
    pub model: PathBuf,
    /// The volume: NIfTI-1 or -2, compressed or not, one of a pair of .hdr and .img, or an array (.npy). Of a scan of several channels
    /// once for each, in the model's order, or one file of four dimensions, or the one that ends in _0000.
    #[arg(short, long, value_name = "IN.nii.gz", required = true)]
    pub input: Vec<PathBuf>,
    /// How it is read.
    #[command(flatten)]
    pub reading: ReadingArgs,
    /// The label map to write.
    #[arg(short, long, value_name = "OUT.nii.gz")]
    pub output: Option<PathBuf>,
    /// True labels, for Dice: on the volume's grid, voxels stored in any order. One value over several of the model's
    /// classes is compared with all of them together.
    #[arg(long, value_name = "TRUTH.nii.gz")]
    pub labels: Option<PathBuf>,
}

/// What becomes of instance normalisations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum InstanceNormChoice {
    /// `calibrate` puts the statistics of its volumes (10 or more) in the place of a scan's own, which changes labels.
    Fold,
}

/// Flags of `import`.
#[derive(Args)]
pub(crate) struct ImportArgs {
    /// The model; weights may lie in files beside it.
    #[arg(value_name = "MODEL.onnx", required_unless_present = "list")]
    pub model: Option<PathBuf>,
    /// The bundle to write: a directory.
    #[arg(short, long, value_name = "BUNDLE", required_unless_present = "list")]
    pub output: Option<PathBuf>,
    /// A name for reports; the file's where it isn't said.
    #[arg(long)]
    pub name: Option<String>,
    /// The classes' names, the background's first.
    #[arg(long, value_name = "A,B,..", value_delimiter = ',')]
    pub classes: Option<Vec<String>>,
    /// The grid to run on, in the place of the one that the model states.
    #[arg(long, value_name = "D,H,W", value_delimiter = ',')]
    pub dims: Option<Vec<usize>>,
    /// The output that is the scores, where there are several: the first where it isn't said.
    #[arg(long, value_name = "NAME")]
    pub scores: Option<String>,
    /// What the client does with its scan: `preparation` of a bundle's model.json in a file of its own.
    #[arg(long, value_name = "P.json")]
    pub preparation: Option<PathBuf>,
    /// Take preparation, windows and classes from a bundle of MONAI: its configs/inference.json and metadata.json.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["preparation", "nnunet"])]
    pub monai: Option<PathBuf>,
    /// Take preparation, windows and classes from a model of nnU-Net: its plans.json and dataset.json.
    #[arg(long, value_name = "DIR", conflicts_with = "preparation")]
    pub nnunet: Option<PathBuf>,
    /// What becomes of instance normalisations, which have no exact form yet.
    #[arg(long, value_enum)]
    pub instance_norm: Option<InstanceNormChoice>,
    /// Compare the network in real numbers with an output that the model gave, both numpy arrays.
    #[arg(long, num_args = 2, value_names = ["IN.npy", "OUT.npy"])]
    pub check: Option<Vec<PathBuf>>,
    /// Replace a bundle that is there.
    #[arg(long)]
    pub force: bool,
    /// List the operators that are supported.
    #[arg(long, exclusive = true)]
    pub list: bool,
}

/// Flags of `calibrate`.
#[derive(Args)]
pub(crate) struct CalibrateArgs {
    /// The model: a directory with model.json and weights.safetensors; model.json is rewritten.
    #[arg(short, long, value_name = "BUNDLE")]
    pub model: PathBuf,
    /// Volumes like those the model will see.
    #[arg(required = true, value_name = "VOLUME.nii.gz")]
    pub volumes: Vec<PathBuf>,
    /// Keep the scales: only note what the volumes are like and compare the networks on them.
    #[arg(long, conflicts_with = "spare_bits")]
    pub keep_scales: bool,
    /// How often the largest value seen may double before it overflows.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=8))]
    pub spare_bits: u32,
}

/// Flags of `doctor`.
#[derive(Args)]
pub(crate) struct DoctorArgs {
    /// The GPU to try: part of its name.
    #[arg(long, value_name = "NAME")]
    pub adapter: Option<String>,
}
