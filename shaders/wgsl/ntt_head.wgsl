// One stage of a transform longer than a workgroup's memory: one lane a butterfly; x along n / 2, y: row.

struct Params {
    n: u32,
    limbs: u32,
    // Distance of a butterfly's two points.
    half: u32,
    // Inverse only, 1: the last stage, multiply by n^-1 and reduce.
    last: u32,
}

var<immediate> params: Params;

@group(0) @binding(1) var<storage, read_write> data: array<vec2<u32>>;
@group(0) @binding(2) var<storage, read> roots: array<vec4<u32>>;

// Values below 4q in and out.
@compute @workgroup_size(64)
fn ntt_head_forward(@builtin(global_invocation_id) id: vec3<u32>) {
    let limb = id.y % params.limbs;
    let q = modulus(limb).q;
    let two_q = w_double(q);
    let block = id.x / params.half;
    let at = id.y * params.n + id.x + block * params.half;
    let groups = params.n / (2u * params.half);
    let w = factor(roots[limb * params.n + groups + block]);
    let u = w_csub(w_from(data[at]), two_q);
    let v = mod_mul_lazy(w_from(data[at + params.half]), w, q);
    data[at] = w_to(w_add(u, v));
    data[at + params.half] = w_to(w_sub(w_add(u, two_q), v));
}

// Values below 2q in and out; in [0, q) out of the last stage.
@compute @workgroup_size(64)
fn ntt_head_inverse(@builtin(global_invocation_id) id: vec3<u32>) {
    let limb = id.y % params.limbs;
    let q = modulus(limb).q;
    let two_q = w_double(q);
    let block = id.x / params.half;
    let at = id.y * params.n + id.x + block * params.half;
    let groups = params.n / (2u * params.half);
    let w = factor(roots[limb * params.n + groups + block]);
    let u = w_from(data[at]);
    let v = w_from(data[at + params.half]);
    var x = w_csub(w_add(u, v), two_q);
    var y = mod_mul_lazy(w_sub(w_add(u, two_q), v), w, q);
    if params.last == 1u {
        let n_inv = modulus_factor(limb, 3u);
        x = mod_mul_factor(x, n_inv, q);
        y = mod_mul_factor(y, n_inv, q);
    }
    data[at] = w_to(x);
    data[at + params.half] = w_to(y);
}
