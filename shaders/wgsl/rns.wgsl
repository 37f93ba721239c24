// Exact conversion between bases in the coefficient domain: mod_up to other primes, mod_down by the product of some.
// For residues x_i modulo primes m_i of product D and b_i bits, y_i = x_i (D/m_i)^-1 mod m_i, and v counts the whole D
// in sum of y_i D/m_i: of several primes, of at least 30 bits, by 32-bit fractions of each y_i / m_i, of one by
// comparing with D/2. The representative nearest zero is then sum of y_i [D/m_i] - v D, in each prime of the target.
//
// One lane a residue of the result: x along n, y the prime of the target, z the polynomial. Words are split at 30 bits
// whatever the width of the target's prime, as y_i may be wider; sums of eight products are folded.
//
// Constants of a conversion, in words: five a source prime,
//   0  m_i   1  (D/m_i)^-1   2  its companion   3  floor(2^(b + 30) / m_i), below 2^31   4  b - 30
// then, for each prime of the target, D^-1, its companion, [D/m_i] for every i, and -D.

struct Params {
    n: u32,
    // Of the elements that are read.
    limbs: u32,
    // The first limb of the source, and how many there are.
    first: u32,
    sources: u32,
    // Primes of the target.
    targets: u32,
}

var<immediate> params: Params;

@group(0) @binding(1) var<storage, read_write> out: array<vec2<u32>>;
@group(0) @binding(2) var<storage, read> residues: array<vec2<u32>>;
@group(0) @binding(3) var<storage, read> constants: array<vec2<u32>>;

const SOURCE_WORDS: u32 = 5u;
const SPLIT: u32 = 30u;

var<private> low: Word;
var<private> mid: Word;
var<private> high: Word;

fn halves(v: vec2<u32>) -> vec2<u32> {
    return vec2<u32>(v.x & ((1u << SPLIT) - 1u), (v.x >> SPLIT) | (v.y << (32u - SPLIT)));
}

fn mac(v: vec2<u32>, w: vec2<u32>) {
    let a = halves(v);
    let b = halves(w);
    low = w_mad(low, a.x, b.x);
    mid = w_mad(w_mad(mid, a.x, b.y), a.y, b.x);
    high = w_mad(high, a.y, b.y);
}

// The sum so far as a residue, left in low: at most eight products and a residue before.
fn fold(m: Modulus) {
    let a = w_add(low, w_shl(mid, SPLIT));
    let a_carry = w_pick(w_from(vec2<u32>(1u, 0u)), W_ZERO, w_less(a, low));
    let h = w_shl(high, 2u * SPLIT);
    let b = w_add(a, h);
    let b_carry = w_pick(w_from(vec2<u32>(1u, 0u)), W_ZERO, w_less(b, h));
    let top = w_add(w_shr(mid, 64u - SPLIT), w_shr(high, 64u - 2u * SPLIT));
    low = mod_reduce_wide(Wide(b, w_add(top, w_add(a_carry, b_carry))), m);
    mid = W_ZERO;
    high = W_ZERO;
}

fn constants_at(prime: u32) -> u32 {
    return params.sources * SOURCE_WORDS + prime * (params.sources + 3u);
}

// The conversion of coefficient x of polynomial z to a prime of the target.
fn converted(x: u32, prime: u32, z: u32) -> Word {
    let m = modulus(prime);
    let weights = constants_at(prime) + 2u;
    let one = params.sources == 1u;
    var fractions = W_ZERO;
    low = W_ZERO;
    mid = W_ZERO;
    high = W_ZERO;
    for (var i = 0u; i < params.sources; i += 1u) {
        let at = i * SOURCE_WORDS;
        let q = w_from(constants[at]);
        let inverse = Factor(w_from(constants[at + 1u]), w_from(constants[at + 2u]));
        let residue = w_from(residues[(z * params.limbs + params.first + i) * params.n + x]);
        let y = mod_mul_factor(residue, inverse, q);
        let shift = constants[at + 4u].x;
        if one {
            fractions = w_pick(w_from(vec2<u32>(0u, 1u)), W_ZERO, w_less(w_sub(q, y), y));
        } else {
            var top = w_to(y).x;
            if shift > 0u {
                top = w_to(w_shr(y, shift)).x;
            }
            fractions = w_add(fractions, w_shr(w_mad(W_ZERO, top, constants[at + 3u].x), 28u));
        }
        mac(w_to(y), constants[weights + i]);
        if i % 8u == 7u {
            fold(m);
        }
    }
    let half = w_from(vec2<u32>(0x80000000u, 0u));
    let count = w_to(w_add(fractions, w_pick(W_ZERO, half, one))).y;
    fold(m);
    mac(vec2<u32>(count, 0u), constants[weights + params.sources]);
    fold(m);
    return low;
}

@compute @workgroup_size(64)
fn mod_up(@builtin(global_invocation_id) id: vec3<u32>) {
    if id.x < params.n {
        out[(id.z * params.targets + id.y) * params.n + id.x] = w_to(converted(id.x, id.y, id.z));
    }
}

// (x - converted) / D in a prime that is kept, one of the first limbs.
@compute @workgroup_size(64)
fn mod_down(@builtin(global_invocation_id) id: vec3<u32>) {
    if id.x < params.n {
        let q = modulus(id.y).q;
        let x = w_from(residues[(id.z * params.limbs + id.y) * params.n + id.x]);
        let at = constants_at(id.y);
        let quotient = Factor(w_from(constants[at]), w_from(constants[at + 1u]));
        let result = mod_mul_factor(mod_sub(x, converted(id.x, id.y, id.z), q), quotient, q);
        out[(id.z * params.targets + id.y) * params.n + id.x] = w_to(result);
    }
}
