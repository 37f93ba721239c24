// The stages of a transform that its chunks do not share: one step of RADIX (2, 4, 8 or 16) on points n / RADIX apart,
// before ntt_forward or after ntt_inverse. One lane a step; x along n / RADIX, y: row.

struct Params { n: u32, limbs: u32 }

var<immediate> params: Params;

// In [0, q) in, below 8q out.
@compute @workgroup_size(64)
fn ntt_head_forward(@builtin(global_invocation_id) id: vec3<u32>) {
    start(id.y % params.limbs, params.n);
    let at = id.y * params.n + id.x;
    let step = params.n / RADIX;
    v[0] = w_from(data[at]);
    v[1] = w_from(data[at + step]);
    if RADIX > 2u {
        v[2] = w_from(data[at + 2u * step]);
        v[3] = w_from(data[at + 3u * step]);
    }
    if RADIX > 4u {
        v[4] = w_from(data[at + 4u * step]);
        v[5] = w_from(data[at + 5u * step]);
        v[6] = w_from(data[at + 6u * step]);
        v[7] = w_from(data[at + 7u * step]);
    }
    if RADIX > 8u {
        v[8] = w_from(data[at + 8u * step]);
        v[9] = w_from(data[at + 9u * step]);
        v[10] = w_from(data[at + 10u * step]);
        v[11] = w_from(data[at + 11u * step]);
        v[12] = w_from(data[at + 12u * step]);
        v[13] = w_from(data[at + 13u * step]);
        v[14] = w_from(data[at + 14u * step]);
        v[15] = w_from(data[at + 15u * step]);
    }
    if RADIX == 2u {
        forward_2(0u, 1u);
    } else if RADIX == 4u {
        forward_4(0u, 1u);
    } else if RADIX == 8u {
        forward_8(0u, 1u);
    } else {
        forward_16(1u);
    }
    data[at] = w_to(settle_forward(0u));
    data[at + step] = w_to(settle_forward(1u));
    if RADIX > 2u {
        data[at + 2u * step] = w_to(settle_forward(2u));
        data[at + 3u * step] = w_to(settle_forward(3u));
    }
    if RADIX > 4u {
        data[at + 4u * step] = w_to(settle_forward(4u));
        data[at + 5u * step] = w_to(settle_forward(5u));
        data[at + 6u * step] = w_to(settle_forward(6u));
        data[at + 7u * step] = w_to(settle_forward(7u));
    }
    if RADIX > 8u {
        data[at + 8u * step] = w_to(settle_forward(8u));
        data[at + 9u * step] = w_to(settle_forward(9u));
        data[at + 10u * step] = w_to(settle_forward(10u));
        data[at + 11u * step] = w_to(settle_forward(11u));
        data[at + 12u * step] = w_to(settle_forward(12u));
        data[at + 13u * step] = w_to(settle_forward(13u));
        data[at + 14u * step] = w_to(settle_forward(14u));
        data[at + 15u * step] = w_to(settle_forward(15u));
    }
}

// Below 2q in, times n^-1 in [0, q) out.
@compute @workgroup_size(64)
fn ntt_head_inverse(@builtin(global_invocation_id) id: vec3<u32>) {
    let limb = id.y % params.limbs;
    start(limb, params.n);
    let at = id.y * params.n + id.x;
    let step = params.n / RADIX;
    v[0] = w_from(data[at]);
    v[1] = w_from(data[at + step]);
    if RADIX > 2u {
        v[2] = w_from(data[at + 2u * step]);
        v[3] = w_from(data[at + 3u * step]);
    }
    if RADIX > 4u {
        v[4] = w_from(data[at + 4u * step]);
        v[5] = w_from(data[at + 5u * step]);
        v[6] = w_from(data[at + 6u * step]);
        v[7] = w_from(data[at + 7u * step]);
    }
    if RADIX > 8u {
        v[8] = w_from(data[at + 8u * step]);
        v[9] = w_from(data[at + 9u * step]);
        v[10] = w_from(data[at + 10u * step]);
        v[11] = w_from(data[at + 11u * step]);
        v[12] = w_from(data[at + 12u * step]);
        v[13] = w_from(data[at + 13u * step]);
        v[14] = w_from(data[at + 14u * step]);
        v[15] = w_from(data[at + 15u * step]);
    }
    if RADIX == 2u {
        inverse_2(0u, 1u);
    } else if RADIX == 4u {
        inverse_4(0u, 1u);
    } else if RADIX == 8u {
        inverse_8(0u, 1u);
    } else {
        inverse_16(1u);
    }
    let n_inv = modulus_factor(limb, 3u);
    data[at] = w_to(mod_mul_factor(v[0], n_inv, q));
    data[at + step] = w_to(mod_mul_factor(v[1], n_inv, q));
    if RADIX > 2u {
        data[at + 2u * step] = w_to(mod_mul_factor(v[2], n_inv, q));
        data[at + 3u * step] = w_to(mod_mul_factor(v[3], n_inv, q));
    }
    if RADIX > 4u {
        data[at + 4u * step] = w_to(mod_mul_factor(v[4], n_inv, q));
        data[at + 5u * step] = w_to(mod_mul_factor(v[5], n_inv, q));
        data[at + 6u * step] = w_to(mod_mul_factor(v[6], n_inv, q));
        data[at + 7u * step] = w_to(mod_mul_factor(v[7], n_inv, q));
    }
    if RADIX > 8u {
        data[at + 8u * step] = w_to(mod_mul_factor(v[8], n_inv, q));
        data[at + 9u * step] = w_to(mod_mul_factor(v[9], n_inv, q));
        data[at + 10u * step] = w_to(mod_mul_factor(v[10], n_inv, q));
        data[at + 11u * step] = w_to(mod_mul_factor(v[11], n_inv, q));
        data[at + 12u * step] = w_to(mod_mul_factor(v[12], n_inv, q));
        data[at + 13u * step] = w_to(mod_mul_factor(v[13], n_inv, q));
        data[at + 14u * step] = w_to(mod_mul_factor(v[14], n_inv, q));
        data[at + 15u * step] = w_to(mod_mul_factor(v[15], n_inv, q));
    }
}
