//! Which protocols a run is made of, by name; a published system is a choice of them.

pub use crate::nonlinear::Comparison;

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
    /// Correlated transfers: [`crate::nonlinear::select`].
    #[default]
    Transfers,
}

impl Ways {
    /// BUNET, with comparisons that are cheaper than the published ones.
    pub const BUNET: Self = Self {
        linear: Linear::HomConv,
        compare: Comparison::SignSelect,
        products: Products::He(PairSupply::AsUsed),
        selection: Selection::Transfers,
    };
    /// BUNET as it is published: ReLU, max pooling and argmax whole in garbled circuits.
    pub const BUNET_PUBLISHED: Self = Self { compare: Comparison::FullCircuit, ..Self::BUNET };

    /// When square pairs are made.
    pub fn pairs(&self) -> PairSupply {
        let Products::He(supply) = self.products;
        supply
    }

    /// The byte in which parties tell each other: bit 0 how comparisons are made, bit 1 when pairs are.
    pub(super) fn code(&self) -> u8 {
        u8::from(self.compare == Comparison::FullCircuit) | u8::from(self.pairs() == PairSupply::Ahead) << 1
    }

    /// An error for a peer that chose otherwise, in words, from both bytes; `None` where they are the same or unknown.
    pub(super) fn difference(ours: u8, theirs: u8) -> Option<String> {
        let named = [
            ("comparisons are made", ["by sign and selection", "by full circuits"]),
            ("square pairs are made", ["as used", "ahead"]),
        ];
        named.into_iter().enumerate().find_map(|(bit, (what, names))| {
            let [ours, theirs] = [ours, theirs].map(|code| names[usize::from(code >> bit & 1)]);
            (ours != theirs).then(|| format!("{what} {ours} here, {theirs} by the peer"))
        })
    }

    /// The bytes that mean something.
    pub(super) fn is_code(code: u8) -> bool {
        code < 4
    }
}
