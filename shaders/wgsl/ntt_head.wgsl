// The stages of a transform that its chunks do not share: one step of RADIX (2, 4, 8 or 16) on points n / RADIX apart,
// before ntt_forward or after ntt_inverse. One lane a step; x along n / RADIX, y: row.

struct Params { n: u32, limbs: u32 }

var<immediate> params: Params;

// In [0, q) in, below 8q out.
@compute @workgroup_size(64)
fn ntt_head_forward(@builtin(global_invocation_id) id: vec3<u32>) {
    let limb = id.y % params.limbs;
    let q = modulus(limb).q;
    let two_q = w_double(q);
    let four_q = w_double(two_q);
    let eight_q = w_double(four_q);
    let roots_at = roots_of(limb) * params.n;
    let at = id.y * params.n + id.x;
    let step = params.n / RADIX;
    @i<RADIX var v$i = w_from(data[at + $iu * step]);
    @range 1
    @forward RADIX RADIX root(roots_at + (1u << $lu) + $ju)
    @below 8
    @i<RADIX data[at + $iu * step] = w_to(v$i);
}

// Below 2q in, times n^-1 in [0, q) out.
@compute @workgroup_size(64)
fn ntt_head_inverse(@builtin(global_invocation_id) id: vec3<u32>) {
    let limb = id.y % params.limbs;
    let q = modulus(limb).q;
    let two_q = w_double(q);
    let four_q = w_double(two_q);
    let eight_q = w_double(four_q);
    let roots_at = roots_of(limb) * params.n;
    let at = id.y * params.n + id.x;
    let step = params.n / RADIX;
    @i<RADIX var v$i = w_from(data[at + $iu * step]);
    let n_inv = modulus_factor(limb, 3u);
    let last_root = root(roots_at);
    @range 2
    @inverse RADIX RADIX 1 root(roots_at + (1u << $lu) + $ju)
    @i<RADIX data[at + $iu * step] = w_to(v$i);
}
