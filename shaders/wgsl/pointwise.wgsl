// Kernels that work residue by residue: one lane a residue, rows of n along y. In either domain.

struct Params {
    // mul_scalar: the factor and its companion.
    scalar: vec4<u32>,
    n: u32,
    // Row y is limb y % limbs.
    limbs: u32,
    // mul, mul_add: rows of the second factor before it repeats.
    factor_rows: u32,
    // mul_scalar: the one limb to work on.
    limb: u32,
}

var<immediate> params: Params;

@group(0) @binding(1) var<storage, read_write> acc: array<vec2<u32>>;
@group(0) @binding(2) var<storage, read> left: array<vec2<u32>>;
@group(0) @binding(3) var<storage, read> right: array<vec2<u32>>;

// acc += left
@compute @workgroup_size(64)
fn add(@builtin(global_invocation_id) id: vec3<u32>) {
    if id.x < params.n {
        let i = id.y * params.n + id.x;
        let q = modulus(id.y % params.limbs).q;
        acc[i] = w_to(mod_add(w_from(acc[i]), w_from(left[i]), q));
    }
}

// acc -= left
@compute @workgroup_size(64)
fn sub(@builtin(global_invocation_id) id: vec3<u32>) {
    if id.x < params.n {
        let i = id.y * params.n + id.x;
        let q = modulus(id.y % params.limbs).q;
        acc[i] = w_to(mod_sub(w_from(acc[i]), w_from(left[i]), q));
    }
}

// acc = -acc
@compute @workgroup_size(64)
fn negate(@builtin(global_invocation_id) id: vec3<u32>) {
    if id.x < params.n {
        let i = id.y * params.n + id.x;
        let q = modulus(id.y % params.limbs).q;
        acc[i] = w_to(w_csub(w_sub(q, w_from(acc[i])), q));
    }
}

// acc *= left
@compute @workgroup_size(64)
fn mul(@builtin(global_invocation_id) id: vec3<u32>) {
    if id.x < params.n {
        let i = id.y * params.n + id.x;
        let j = (id.y % params.factor_rows) * params.n + id.x;
        acc[i] = w_to(mod_mul(w_from(acc[i]), w_from(left[j]), modulus(id.y % params.limbs)));
    }
}

// acc += left * right
@compute @workgroup_size(64)
fn mul_add(@builtin(global_invocation_id) id: vec3<u32>) {
    if id.x < params.n {
        let i = id.y * params.n + id.x;
        let j = (id.y % params.factor_rows) * params.n + id.x;
        let m = modulus(id.y % params.limbs);
        acc[i] = w_to(mod_add(w_from(acc[i]), mod_mul(w_from(left[i]), w_from(right[j]), m), m.q));
    }
}

// acc *= scalar, on one limb of each polynomial
@compute @workgroup_size(64)
fn mul_scalar(@builtin(global_invocation_id) id: vec3<u32>) {
    if id.x < params.n {
        let i = (id.y * params.limbs + params.limb) * params.n + id.x;
        acc[i] = w_to(mod_mul_factor(w_from(acc[i]), factor(params.scalar), modulus(params.limb).q));
    }
}
