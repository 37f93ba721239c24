// What the adapter can do at best: the two limits that measurements are held to.

struct Params {
    // probe_copy: words; probe_multiply: rounds.
    count: u32,
    // probe_copy: lanes of the dispatch.
    lanes: u32,
}

var<immediate> params: Params;

@group(0) @binding(1) var<storage, read_write> out: array<vec2<u32>>;
@group(0) @binding(2) var<storage, read> words: array<vec2<u32>>;

// One read and one write of every word, neighbouring lanes at neighbouring words.
@compute @workgroup_size(256)
fn probe_copy(@builtin(global_invocation_id) id: vec3<u32>) {
    for (var i = id.x; i < params.count; i += params.lanes) {
        out[i] = words[i];
    }
}

// 32 independent chains of x = x * a + b modulo 2^32, which no driver can shorten; lane i starts them from i.
@compute @workgroup_size(256)
fn probe_multiply(@builtin(global_invocation_id) id: vec3<u32>) {
    let a = vec4<u32>(words[0].x);
    let b = vec4<u32>(words[0].y);
    let start = vec4<u32>(id.x) + vec4<u32>(0u, 1u, 2u, 3u);
    var s = start;
    var t = start + vec4<u32>(4u);
    var u = start + vec4<u32>(8u);
    var v = start + vec4<u32>(12u);
    var w = start + vec4<u32>(16u);
    var x = start + vec4<u32>(20u);
    var y = start + vec4<u32>(24u);
    var z = start + vec4<u32>(28u);
    for (var i = 0u; i < params.count; i += 1u) {
        s = s * a + b;
        t = t * a + b;
        u = u * a + b;
        v = v * a + b;
        w = w * a + b;
        x = x * a + b;
        y = y * a + b;
        z = z * a + b;
    }
    let low = s ^ t ^ u ^ v;
    let high = w ^ x ^ y ^ z;
    out[id.x] = vec2<u32>(low.x ^ low.y ^ low.z ^ low.w, high.x ^ high.y ^ high.z ^ high.w);
}
