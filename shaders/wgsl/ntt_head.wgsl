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
    start_last(limb);
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
        inverse_2_last();
    } else if RADIX == 4u {
        inverse_4_last();
    } else if RADIX == 8u {
        inverse_8_last();
    } else {
        inverse_16_last();
    }
    data[at] = w_to(v[0]);
    data[at + step] = w_to(v[1]);
    if RADIX > 2u {
        data[at + 2u * step] = w_to(v[2]);
        data[at + 3u * step] = w_to(v[3]);
    }
    if RADIX > 4u {
        data[at + 4u * step] = w_to(v[4]);
        data[at + 5u * step] = w_to(v[5]);
        data[at + 6u * step] = w_to(v[6]);
        data[at + 7u * step] = w_to(v[7]);
    }
    if RADIX > 8u {
        data[at + 8u * step] = w_to(v[8]);
        data[at + 9u * step] = w_to(v[9]);
        data[at + 10u * step] = w_to(v[10]);
        data[at + 11u * step] = w_to(v[11]);
        data[at + 12u * step] = w_to(v[12]);
        data[at + 13u * step] = w_to(v[13]);
        data[at + 14u * step] = w_to(v[14]);
        data[at + 15u * step] = w_to(v[15]);
    }
}
