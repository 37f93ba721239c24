//! Which protocols a run is made of, by name; a published system is a choice of them.

use blindvox_engine::aes::INSTANCES_PER_KEY;

pub use crate::nonlinear::Comparison;
use crate::ot::silent::Set;

/// What both parties must choose alike.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ways {
    /// Linear layers.
    pub linear: Linear,
    /// ReLU, max pooling and argmax.
    pub compare: Comparison,
    /// Squares.
    pub products: Products,
    /// What follows a comparison by signs.
    pub selection: Selection,
    /// What makes transfers.
    pub ot: Source,
}

/// How linear layers are computed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Linear {
    /// On the client's ciphertexts: [`crate::linear`].
    #[default]
    HomConv,
}

/// When square pairs are made; both parties must choose alike.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PairSupply {
    /// While the steps that use them run.
    #[default]
    AsUsed,
    /// All of them in preprocessing.
    Ahead,
}

/// Where square pairs come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Products {
    /// Homomorphic encryption: [`crate::correlations::he`].
    He(PairSupply),
}

impl Default for Products {
    fn default() -> Self {
        Self::He(PairSupply::default())
    }
}

/// How values are selected by shared bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Selection {
    /// Correlated transfers: [`crate::select`].
    #[default]
    Transfers,
}

/// What makes transfers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Source {
    /// SoftSpoken.
    #[default]
    SoftSpoken,
    /// [Silent OT](crate::ot::silent), in each direction that is used enough.
    Silent,
}

impl Source {
    /// Its name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::SoftSpoken => "softspoken",
            Self::Silent => "silent",
        }
    }
}

impl Ways {
    /// BUNET, with comparisons that are cheaper than the published ones.
    pub const BUNET: Self = Self {
        linear: Linear::HomConv,
        compare: Comparison::SignSelect,
        products: Products::He(PairSupply::AsUsed),
        selection: Selection::Transfers,
        ot: Source::SoftSpoken,
    };
    /// BUNET as it is published: ReLU, max pooling and argmax whole in garbled circuits.
    pub const BUNET_PUBLISHED: Self = Self { compare: Comparison::FullCircuit, ..Self::BUNET };

    /// Bits of computational security, the least of all parts (SECURITY.md has the table).
    pub fn security_bits(&self) -> u32 {
        // Inputs of a hash key lie at a distance of Delta, which has 127 secret bits.
        let hashes = 127 - INSTANCES_PER_KEY.ilog2();
        match self.ot {
            Source::SoftSpoken => hashes,
            Source::Silent => Set::least_bits().min(hashes),
        }
    }

    /// Whether anything is garbled.
    pub(super) fn garbles(&self) -> bool {
        self.compare != Comparison::Transfers
    }

    /// When square pairs are made.
    pub fn pairs(&self) -> PairSupply {
        let Products::He(supply) = self.products;
        supply
    }

    /// The byte in which parties tell each other: bit 0 whether comparisons are full circuits, bit 1 whether pairs are
    /// made ahead, bit 2 whether comparisons are transfers, bit 3 whether OT is silent.
    pub(super) fn code(&self) -> u8 {
        u8::from(self.compare == Comparison::FullCircuit)
            | u8::from(self.pairs() == PairSupply::Ahead) << 1
            | u8::from(self.compare == Comparison::Transfers) << 2
            | u8::from(self.ot == Source::Silent) << 3
    }

    /// An error for a peer that chose otherwise, in words, from both bytes; `None` where they are the same or unknown.
    pub(super) fn difference(ours: u8, theirs: u8) -> Option<String> {
        let comparison = |code: u8| match code & 0b101 {
            0 => "by sign and selection",
            1 => "by full circuits",
            _ => "by transfers",
        };
        let pairs = |code: u8| if code & 0b10 == 0 { "as used" } else { "ahead" };
        let source = |code: u8| if code & 0b1000 == 0 { "by SoftSpoken" } else { "silently" };
        let named: [(&str, &dyn Fn(u8) -> &'static str); 3] =
            [("comparisons are made", &comparison), ("square pairs are made", &pairs), ("transfers are made", &source)];
        named.into_iter().find_map(|(what, name)| {
            let [ours, theirs] = [ours, theirs].map(name);
            (ours != theirs).then(|| format!("{what} {ours} here, {theirs} by the peer"))
        })
    }

    /// The bytes that mean something.
    pub(super) fn is_code(code: u8) -> bool {
        code < 16 && code & 0b101 != 0b101
    }
}
