// Forward negacyclic transform of chunks of POINTS points in workgroup memory: the last log2(POINTS) stages
// of rows of n = chunks * POINTS points. Natural order in, bit-reversed order out (Cooley-Tukey with merged
// powers of psi). Values stay below 4q inside (Harvey 2014) and leave in [0, q). x: chunk, y: row.

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
fn ntt_forward(@builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) group: vec3<u32>) {
    let limb = group.y % params.limbs;
    let q = modulus(limb).q;
    let two_q = w_double(q);
    let base = group.y * params.n + group.x * POINTS;
    for (var i = lane; i < POINTS; i += LANES) {
        tile[i] = data[base + i];
    }
    var groups = 1u;
    for (var half = POINTS / 2u; half > 0u; half /= 2u) {
        workgroupBarrier();
        for (var i = lane; i < POINTS / 2u; i += LANES) {
            let block = i / half;
            let at = i + block * half;
            let w = factor(roots[limb * params.n + (params.chunks + group.x) * groups + block]);
            let u = w_csub(w_from(tile[at]), two_q);
            let v = mod_mul_lazy(w_from(tile[at + half]), w, q);
            tile[at] = w_to(w_add(u, v));
            tile[at + half] = w_to(w_sub(w_add(u, two_q), v));
        }
        groups *= 2u;
    }
    workgroupBarrier();
    for (var i = lane; i < POINTS; i += LANES) {
        data[base + i] = w_to(w_csub(w_csub(w_from(tile[i]), two_q), q));
    }
}
