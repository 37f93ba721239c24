// Matrix product of polynomials in the NTT domain: y[r][c] = sum over k of w[r][k] x[k][c], at every point of every limb.
//
// With CONSTANTS = 1 the entries of w are constants, one residue a limb, the same at every point.
//
// Neighbouring lanes are neighbouring points, so all loads are contiguous. A lane keeps a tile of up to 4 x 4 sums in registers
// (ROWS x COLS, constants of the pipeline), a workgroup works on DOWN x ACROSS such tiles at the same 64 points, so that what one reads
// is still in the nearest cache for the others; neighbouring workgroups (x) are the tiles beside them, at the same points. y: points,
// z: limb. Residues are split in halves of `split` bits; the
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

struct Sum { low: Word, mid: Word, high: Word }

fn mac(s: Sum, a: vec2<u32>, b: vec2<u32>) -> Sum {
    return Sum(w_mad(s.low, a.x, b.x), w_mad(w_mad(s.mid, a.x, b.y), a.y, b.x), w_mad(s.high, a.y, b.y));
}

// The sum so far as a residue.
fn folded(s: Sum, split: u32, m: Modulus) -> Word {
    let a = w_add(s.low, w_shl(s.mid, split));
    let a_carry = w_pick(w_from(vec2<u32>(1u, 0u)), W_ZERO, w_less(a, s.low));
    let h = w_shl(s.high, 2u * split);
    let b = w_add(a, h);
    let b_carry = w_pick(w_from(vec2<u32>(1u, 0u)), W_ZERO, w_less(b, h));
    let top = w_add(w_shr(s.mid, 64u - split), w_shr(s.high, 64u - 2u * split));
    return mod_reduce_wide(Wide(b, w_add(top, w_add(a_carry, b_carry))), m);
}

fn halves(v: vec2<u32>, split: u32) -> vec2<u32> {
    return vec2<u32>(v.x & ((1u << split) - 1u), (v.x >> split) | (v.y << (32u - split)));
}

fn finish(s: Sum, at: u32, m: Modulus, split: u32) {
    var sum = folded(s, split, m);
    if params.accumulate == 1u {
        sum = mod_add(sum, w_from(y[at]), m.q);
    }
    y[at] = w_to(sum);
}

@compute @workgroup_size(64 * DOWN * ACROSS)
fn gemm(@builtin(local_invocation_index) index: u32, @builtin(workgroup_id) group: vec3<u32>) {
    let limb = params.limb_first + group.z;
    let w_limb = params.w_limb_first + group.z;
    let lane = index % 64u;
    let tile = index / 64u;
    let tiles_across = (params.cols + COLS * ACROSS - 1u) / (COLS * ACROSS);
    let col = ((group.x % tiles_across) * ACROSS + tile % ACROSS) * COLS;
    let row = ((group.x / tiles_across) * DOWN + tile / ACROSS) * ROWS;
    let m = modulus(limb);
    let split = moduli[limb * MODULUS_WORDS + 5u].x;
    let block = moduli[limb * MODULUS_WORDS + 5u].y;
    let poly = params.limbs * params.n;
    let point = limb * params.n + group.y * 64u + lane;

    let w_entry = select(params.w_limbs * params.n, params.w_limbs, CONSTANTS == 1u);
    let w_point = select(w_limb * params.n + group.y * 64u + lane, w_limb, CONSTANTS == 1u);
    let x_step = params.x_stride * poly;

    // Past the edge the last row or column is computed again and not stored.
    @r<ROWS var w_at_$r = (params.w_first + min(row + $ru, params.rows - 1u) * params.w_stride) * w_entry + w_point;
    @c<COLS var x_at_$c = min(col + $cu, params.cols - 1u) * poly + point;
    @r<ROWS @c<COLS var s_$r_$c = Sum(W_ZERO, W_ZERO, W_ZERO);

    var left = block;
    for (var k = 0u; k < params.inner; k += 1u) {
        if left == 0u {
            left = block;
            @r<ROWS @c<COLS s_$r_$c = Sum(folded(s_$r_$c, split, m), W_ZERO, W_ZERO);
        }
        left -= 1u;
        @c<COLS let b_$c = halves(x[x_at_$c], split);
        @r<ROWS let a_$r = halves(w[w_at_$r], split);
        @r<ROWS @c<COLS s_$r_$c = mac(s_$r_$c, a_$r, b_$c);
        @r<ROWS w_at_$r += w_entry;
        @c<COLS x_at_$c += x_step;
    }

    let out = (row * params.x_stride + col) * poly + point;
    @r<ROWS @c<COLS if row + $ru < params.rows && col + $cu < params.cols { finish(s_$r_$c, out + ($ru * params.x_stride + $cu) * poly, m, split); }
}
