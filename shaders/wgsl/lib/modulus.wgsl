// Arithmetic modulo one prime below 2^60, over either body of Word. Residues are in [0, q) unless said otherwise.
//
// Table of moduli, seven words a limb:
//   0  q              1  ratio low     2  ratio high     floor(2^128 / q)
//   3  n^-1           4  its companion
//   5  (split, block)                                    for lazy sums of products, see gemm.wgsl
//   6  (number, 0)                                       of the prime in the table of roots

struct Modulus { q: Word, ratio_lo: Word, ratio_hi: Word }

// A fixed factor w and its Shoup companion floor(w * 2^64 / q).
struct Factor { value: Word, companion: Word }

const MODULUS_WORDS: u32 = 7u;

@group(0) @binding(0) var<storage, read> moduli: array<vec2<u32>>;

fn modulus(limb: u32) -> Modulus {
    let at = limb * MODULUS_WORDS;
    return Modulus(w_from(moduli[at]), w_from(moduli[at + 1u]), w_from(moduli[at + 2u]));
}

fn modulus_factor(limb: u32, word: u32) -> Factor {
    let at = limb * MODULUS_WORDS + word;
    return Factor(w_from(moduli[at]), w_from(moduli[at + 1u]));
}

fn factor(v: vec4<u32>) -> Factor { return Factor(w_from(v.xy), w_from(v.zw)); }

fn mod_add(a: Word, b: Word, q: Word) -> Word { return w_csub(w_add(a, b), q); }

fn mod_sub(a: Word, b: Word, q: Word) -> Word { return w_csub(w_sub(w_add(a, q), b), q); }

// a * w in [0, 2q), for any a (Shoup; Harvey, "Faster arithmetic for number-theoretic transforms", 2014).
fn mod_mul_lazy(a: Word, w: Factor, q: Word) -> Word {
    return w_sub(w_mul_lo(a, w.value), w_mul_lo(w_mul_hi(a, w.companion), q));
}

// a * w in [0, q), for any a.
fn mod_mul_factor(a: Word, w: Factor, q: Word) -> Word { return w_csub(mod_mul_lazy(a, w, q), q); }

// Any word, reduced: the quotient is at most one too small.
fn mod_reduce(x: Word, m: Modulus) -> Word {
    return w_csub(w_sub(x, w_mul_lo(w_mul_hi(x, m.ratio_hi), m.q)), m.q);
}

// Any 128 bits, reduced (Barrett; the quotient is at most two too small).
fn mod_reduce_wide(x: Wide, m: Modulus) -> Word {
    let carry = w_mul_hi(x.lo, m.ratio_lo);
    let mid = w_mul_wide(x.lo, m.ratio_hi);
    let mid_lo = w_add(mid.lo, carry);
    let mid_hi = w_add(mid.hi, w_pick(w_from(vec2<u32>(1u, 0u)), W_ZERO, w_less(mid_lo, carry)));
    let mid2 = w_mul_wide(x.hi, m.ratio_lo);
    let sum = w_add(mid2.lo, mid_lo);
    let mid2_hi = w_add(mid2.hi, w_pick(w_from(vec2<u32>(1u, 0u)), W_ZERO, w_less(sum, mid_lo)));
    let quotient = w_add(w_add(w_mul_lo(x.hi, m.ratio_hi), mid_hi), mid2_hi);
    return w_csub(w_csub(w_sub(x.lo, w_mul_lo(quotient, m.q)), m.q), m.q);
}

fn mod_mul(a: Word, b: Word, m: Modulus) -> Word { return mod_reduce_wide(w_mul_wide(a, b), m); }
