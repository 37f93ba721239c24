//! Sums of products with mirrored plaintexts, of many polynomials at once.

/// Bits of the parts that coefficients are cut in.
pub(crate) const PART_BITS: u32 = 24;

/// For each row and each job the sum of terms, two polynomials of points in rows: those of the sources, which are two
/// each, times a polynomial of mirrored coefficients, a_(n - i) = -a_i.
pub(crate) struct MirroredSums<'a> {
    /// By plaintext the parts of a_0 to a_(n/2 - 1): part k counts 2^([`PART_BITS`] k).
    pub plains: Vec<&'a [Vec<i32>]>,
    /// By term and job the source; none counts as zeros.
    pub sources: Vec<Vec<Option<usize>>>,
    /// By row and term the plaintext; none counts as zeros.
    pub rows: Vec<Vec<Option<usize>>>,
    /// Jobs.
    pub jobs: usize,
}

impl MirroredSums<'_> {
    /// Parts of a coefficient at most: those of 64 bits.
    pub(crate) const MOST_PARTS: usize = 3;
}
