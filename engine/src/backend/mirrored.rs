//! Sums of products with mirrored plaintexts, of many polynomials at once.

/// Bits of the parts that coefficients are cut in.
pub(crate) const PART_BITS: u32 = 24;

/// A plaintext times a source.
#[derive(Clone, Debug)]
pub(crate) struct MirroredTerm {
    /// The plaintext.
    pub plain: usize,
    /// By job the source; none counts as zeros.
    pub sources: Vec<Option<usize>>,
}

/// For each row and each job the sum of terms, two polynomials of points in rows: those of the sources, which are two
/// each, times a polynomial of mirrored coefficients, a_(n - i) = -a_i.
pub(crate) struct MirroredSums<'a> {
    /// By plaintext the parts of a_0 to a_(n/2 - 1): part k counts 2^([`PART_BITS`] k).
    pub plains: Vec<&'a [Vec<i32>]>,
    /// What is summed.
    pub rows: Vec<Vec<MirroredTerm>>,
    /// Jobs.
    pub jobs: usize,
}

impl MirroredSums<'_> {
    /// Parts of a coefficient at most: those of 64 bits.
    pub(crate) const MOST_PARTS: usize = 3;
}
