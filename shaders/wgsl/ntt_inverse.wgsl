// Inverse of ntt_forward: the first log2(POINTS) stages of rows of n = chunks * POINTS points (Gentleman-Sande), and
// n^-1 where there are no more. Values stay below 2q between stages. x: chunk, y: row.

struct Params {
    n: u32,
    limbs: u32,
    // Chunks a row.
    chunks: u32,
}

var<immediate> params: Params;

@group(0) @binding(1) var<storage, read_write> data: array<vec2<u32>>;
@group(0) @binding(2) var<storage, read> roots: array<vec4<u32>>;

var<workgroup> tile: array<vec2<u32>, POINTS>;

@compute @workgroup_size(LANES)
fn ntt_inverse(@builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) group: vec3<u32>) {
    let limb = group.y % params.limbs;
    let q = modulus(limb).q;
    let two_q = w_double(q);
    let base = group.y * params.n + group.x * POINTS;
    for (var i = lane; i < POINTS; i += LANES) {
        tile[i] = data[base + i];
    }
    var groups = POINTS / 2u;
    for (var half = 1u; half < POINTS; half *= 2u) {
        workgroupBarrier();
        for (var i = lane; i < POINTS / 2u; i += LANES) {
            let block = i / half;
            let at = i + block * half;
            let w = factor(roots[limb * params.n + (params.chunks + group.x) * groups + block]);
            let u = w_from(tile[at]);
            let v = w_from(tile[at + half]);
            tile[at] = w_to(w_csub(w_add(u, v), two_q));
            tile[at + half] = w_to(mod_mul_lazy(w_sub(w_add(u, two_q), v), w, q));
        }
        groups /= 2u;
    }
    workgroupBarrier();
    for (var i = lane; i < POINTS; i += LANES) {
        var x = w_from(tile[i]);
        if params.chunks == 1u {
            x = mod_mul_factor(x, modulus_factor(limb, 3u), q);
        }
        data[base + i] = w_to(x);
    }
}
