// Matrix product of polynomials in the NTT domain: y[r][c] = sum over k of w[r][k] x[k][c], at every point of every limb.
//
// With CONSTANTS = 1 the entries of w are constants, one residue a limb, the same at every point.
//
// Neighbouring lanes are neighbouring points, so all loads are contiguous; neighbouring workgroups (x) are the tiles at the
// same points, whose operands are then still in a cache. y: points, 64 a workgroup, z: limb. A lane keeps a tile of up to 4 x 4 sums
// in registers (ROWS x COLS, constants of the pipeline). Residues are split in halves of `split` bits; the
// three partial sums low, mid and high of the products grow in one word each, without carries, and are folded into
// one residue every `block` products: with 2 split >= bits(q) and block = 2^(63 - 2 split), low stays below
// q + 2^63 and mid below 2^64.

struct Params {
    n: u32,
    limbs: u32,
    // Of this dispatch's window of the whole product.
    rows: u32,
    inner: u32,
    cols: u32,
    // Of the whole matrices w and x.
    w_stride: u32,
    x_stride: u32,
    // 1: y += w x.
    accumulate: u32,
    // The window's first entry of w.
    w_first: u32,
    // Limbs of an entry of w; the first limb of this dispatch, and which of w's it is.
    w_limbs: u32,
    limb_first: u32,
    w_limb_first: u32,
}

var<immediate> params: Params;

@group(0) @binding(1) var<storage, read_write> y: array<vec2<u32>>;
@group(0) @binding(2) var<storage, read> w: array<vec2<u32>>;
@group(0) @binding(3) var<storage, read> x: array<vec2<u32>>;

var<private> low: array<Word, 16>;
var<private> mid: array<Word, 16>;
var<private> high: array<Word, 16>;

fn mac(i: u32, a: vec2<u32>, b: vec2<u32>) {
    low[i] = w_mad(low[i], a.x, b.x);
    mid[i] = w_mad(w_mad(mid[i], a.x, b.y), a.y, b.x);
    high[i] = w_mad(high[i], a.y, b.y);
}

// The sum so far as a residue, left in low.
fn fold(i: u32, split: u32, m: Modulus) {
    let a = w_add(low[i], w_shl(mid[i], split));
    let a_carry = w_pick(w_from(vec2<u32>(1u, 0u)), W_ZERO, w_less(a, low[i]));
    let h = w_shl(high[i], 2u * split);
    let b = w_add(a, h);
    let b_carry = w_pick(w_from(vec2<u32>(1u, 0u)), W_ZERO, w_less(b, h));
    let top = w_add(w_shr(mid[i], 64u - split), w_shr(high[i], 64u - 2u * split));
    low[i] = mod_reduce_wide(Wide(b, w_add(top, w_add(a_carry, b_carry))), m);
    mid[i] = W_ZERO;
    high[i] = W_ZERO;
}

fn halves(v: vec2<u32>, split: u32) -> vec2<u32> {
    return vec2<u32>(v.x & ((1u << split) - 1u), (v.x >> split) | (v.y << (32u - split)));
}

fn finish(i: u32, at: u32, m: Modulus, split: u32) {
    fold(i, split, m);
    if params.accumulate == 1u {
        low[i] = mod_add(low[i], w_from(y[at]), m.q);
    }
    y[at] = w_to(low[i]);
}

@compute @workgroup_size(64)
fn gemm(@builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) group: vec3<u32>) {
    let limb = params.limb_first + group.z;
    let w_limb = params.w_limb_first + group.z;
    let col_tiles = (params.cols + COLS - 1u) / COLS;
    let col = (group.x % col_tiles) * COLS;
    let row = (group.x / col_tiles) * ROWS;
    let m = modulus(limb);
    let split = moduli[limb * MODULUS_WORDS + 5u].x;
    let block = moduli[limb * MODULUS_WORDS + 5u].y;
    let poly = params.limbs * params.n;
    let point = limb * params.n + group.y * 64u + lane;

    let w_entry = select(params.w_limbs * params.n, params.w_limbs, CONSTANTS == 1u);
    let w_point = select(w_limb * params.n + group.y * 64u + lane, w_limb, CONSTANTS == 1u);

    // Past the edge the last row or column is computed again and not stored.
    var w0 = (params.w_first + min(row + 0u, params.rows - 1u) * params.w_stride) * w_entry + w_point;
    var w1 = (params.w_first + min(row + 1u, params.rows - 1u) * params.w_stride) * w_entry + w_point;
    var w2 = (params.w_first + min(row + 2u, params.rows - 1u) * params.w_stride) * w_entry + w_point;
    var w3 = (params.w_first + min(row + 3u, params.rows - 1u) * params.w_stride) * w_entry + w_point;
    var x0 = min(col + 0u, params.cols - 1u) * poly + point;
    var x1 = min(col + 1u, params.cols - 1u) * poly + point;
    var x2 = min(col + 2u, params.cols - 1u) * poly + point;
    var x3 = min(col + 3u, params.cols - 1u) * poly + point;

    var left = block;
    for (var k = 0u; k < params.inner; k += 1u) {
        if left == 0u {
            left = block;
            fold(0u, split, m);
            if COLS > 1u { fold(1u, split, m); }
            if COLS > 2u { fold(2u, split, m); }
            if COLS > 3u { fold(3u, split, m); }
            if ROWS > 1u { fold(4u, split, m); }
            if ROWS > 1u && COLS > 1u { fold(5u, split, m); }
            if ROWS > 1u && COLS > 2u { fold(6u, split, m); }
            if ROWS > 1u && COLS > 3u { fold(7u, split, m); }
            if ROWS > 2u { fold(8u, split, m); }
            if ROWS > 2u && COLS > 1u { fold(9u, split, m); }
            if ROWS > 2u && COLS > 2u { fold(10u, split, m); }
            if ROWS > 2u && COLS > 3u { fold(11u, split, m); }
            if ROWS > 3u { fold(12u, split, m); }
            if ROWS > 3u && COLS > 1u { fold(13u, split, m); }
            if ROWS > 3u && COLS > 2u { fold(14u, split, m); }
            if ROWS > 3u && COLS > 3u { fold(15u, split, m); }
        }
        left -= 1u;
        var b0: vec2<u32>;
        var b1: vec2<u32>;
        var b2: vec2<u32>;
        var b3: vec2<u32>;
        b0 = halves(x[x0], split);
        if COLS > 1u { b1 = halves(x[x1], split); }
        if COLS > 2u { b2 = halves(x[x2], split); }
        if COLS > 3u { b3 = halves(x[x3], split); }
        {
            let a = halves(w[w0], split);
            mac(0u, a, b0);
            if COLS > 1u { mac(1u, a, b1); }
            if COLS > 2u { mac(2u, a, b2); }
            if COLS > 3u { mac(3u, a, b3); }
        }
        if ROWS > 1u {
            let a = halves(w[w1], split);
            mac(4u, a, b0);
            if COLS > 1u { mac(5u, a, b1); }
            if COLS > 2u { mac(6u, a, b2); }
            if COLS > 3u { mac(7u, a, b3); }
        }
        if ROWS > 2u {
            let a = halves(w[w2], split);
            mac(8u, a, b0);
            if COLS > 1u { mac(9u, a, b1); }
            if COLS > 2u { mac(10u, a, b2); }
            if COLS > 3u { mac(11u, a, b3); }
        }
        if ROWS > 3u {
            let a = halves(w[w3], split);
            mac(12u, a, b0);
            if COLS > 1u { mac(13u, a, b1); }
            if COLS > 2u { mac(14u, a, b2); }
            if COLS > 3u { mac(15u, a, b3); }
        }
        w0 += w_entry;
        w1 += w_entry;
        w2 += w_entry;
        w3 += w_entry;
        x0 += params.x_stride * poly;
        x1 += params.x_stride * poly;
        x2 += params.x_stride * poly;
        x3 += params.x_stride * poly;
    }

    let out = (row * params.x_stride + col) * poly + point;
    finish(0u, out, m, split);
    if COLS > 1u && col + 1u < params.cols { finish(1u, out + (0u * params.x_stride + 1u) * poly, m, split); }
    if COLS > 2u && col + 2u < params.cols { finish(2u, out + (0u * params.x_stride + 2u) * poly, m, split); }
    if COLS > 3u && col + 3u < params.cols { finish(3u, out + (0u * params.x_stride + 3u) * poly, m, split); }
    if ROWS > 1u && row + 1u < params.rows { finish(4u, out + (1u * params.x_stride + 0u) * poly, m, split); }
    if ROWS > 1u && row + 1u < params.rows && COLS > 1u && col + 1u < params.cols { finish(5u, out + (1u * params.x_stride + 1u) * poly, m, split); }
    if ROWS > 1u && row + 1u < params.rows && COLS > 2u && col + 2u < params.cols { finish(6u, out + (1u * params.x_stride + 2u) * poly, m, split); }
    if ROWS > 1u && row + 1u < params.rows && COLS > 3u && col + 3u < params.cols { finish(7u, out + (1u * params.x_stride + 3u) * poly, m, split); }
    if ROWS > 2u && row + 2u < params.rows { finish(8u, out + (2u * params.x_stride + 0u) * poly, m, split); }
    if ROWS > 2u && row + 2u < params.rows && COLS > 1u && col + 1u < params.cols { finish(9u, out + (2u * params.x_stride + 1u) * poly, m, split); }
    if ROWS > 2u && row + 2u < params.rows && COLS > 2u && col + 2u < params.cols { finish(10u, out + (2u * params.x_stride + 2u) * poly, m, split); }
    if ROWS > 2u && row + 2u < params.rows && COLS > 3u && col + 3u < params.cols { finish(11u, out + (2u * params.x_stride + 3u) * poly, m, split); }
    if ROWS > 3u && row + 3u < params.rows { finish(12u, out + (3u * params.x_stride + 0u) * poly, m, split); }
    if ROWS > 3u && row + 3u < params.rows && COLS > 1u && col + 1u < params.cols { finish(13u, out + (3u * params.x_stride + 1u) * poly, m, split); }
    if ROWS > 3u && row + 3u < params.rows && COLS > 2u && col + 2u < params.cols { finish(14u, out + (3u * params.x_stride + 2u) * poly, m, split); }
    if ROWS > 3u && row + 3u < params.rows && COLS > 3u && col + 3u < params.cols { finish(15u, out + (3u * params.x_stride + 3u) * poly, m, split); }
}
