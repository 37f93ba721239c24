// Half-gates over many instances (Zahur, Rosulek, Evans, 2015), the formulas of engine/src/garble.rs, over the hash of
// lib/aes.wgsl or lib/chacha.wgsl. A workgroup is the 256 instances that share a gate's two keys; labels are [slot][instance],
// keys [chunk][gate][2], tables [chunk][gate][row][256 instances], the generator's row first.

struct Params {
    delta: vec4<u32>,
    // Slots: the AND's inputs are a0 xor a1 and b0 xor b1; sum is added to its output.
    a0: u32,
    a1: u32,
    b0: u32,
    b1: u32,
    sum: u32,
    out: u32,
    // Labels a slot has room for, a multiple of 256.
    instances: u32,
    gate: u32,
    gates: u32,
    // Bit 0: the first input is negated, bit 1: the second.
    flips: u32,
}

var<immediate> params: Params;

@group(0) @binding(1) var<storage, read_write> labels: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read_write> tables: array<vec4<u32>>;

const CHUNK: u32 = 256u;

fn label(slot: u32, instance: u32) -> Block { return labels[slot * params.instances + instance]; }

// x if the colour of `by` is one, else zero.
fn where_coloured(x: Block, by: Block) -> Block { return x & Block(0u - (by.x & 1u)); }

fn row(chunk: u32, which: u32, lane: u32) -> u32 {
    return ((chunk * params.gates + params.gate) * 2u + which) * CHUNK + lane;
}

@compute @workgroup_size(256)
fn garble_and(@builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) group: vec3<u32>) {
    let chunk = group.x;
    hash_start(lane, chunk * params.gates + params.gate);
    let i = chunk * CHUNK + lane;
    let delta = params.delta;
    let a = label(params.a0, i) ^ label(params.a1, i) ^ (delta & Block(0u - (params.flips & 1u)));
    let b = label(params.b0, i) ^ label(params.b1, i) ^ (delta & Block(0u - (params.flips >> 1u)));
    let ha = gate_hash(0u, a);
    let hb = gate_hash(1u, b);
    let generator = ha ^ gate_hash(0u, a ^ delta) ^ where_coloured(delta, b);
    let difference = hb ^ gate_hash(1u, b ^ delta);
    tables[row(chunk, 0u, lane)] = generator;
    tables[row(chunk, 1u, lane)] = difference ^ a;
    labels[params.out * params.instances + i] =
        ha ^ where_coloured(generator, a) ^ hb ^ where_coloured(difference, b) ^ label(params.sum, i);
}

@compute @workgroup_size(256)
fn evaluate_and(@builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) group: vec3<u32>) {
    let chunk = group.x;
    hash_start(lane, chunk * params.gates + params.gate);
    let i = chunk * CHUNK + lane;
    let a = label(params.a0, i) ^ label(params.a1, i);
    let b = label(params.b0, i) ^ label(params.b1, i);
    let generator = tables[row(chunk, 0u, lane)];
    let evaluator = tables[row(chunk, 1u, lane)];
    labels[params.out * params.instances + i] = gate_hash(0u, a) ^ where_coloured(generator, a)
        ^ gate_hash(1u, b) ^ where_coloured(evaluator ^ a, b) ^ label(params.sum, i);
}

// out = a0 xor a1
@compute @workgroup_size(256)
fn xor_labels(@builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) group: vec3<u32>) {
    let i = group.x * CHUNK + lane;
    labels[params.out * params.instances + i] = label(params.a0, i) ^ label(params.a1, i);
}

var<workgroup> words: array<u32, 8>;

// The colours of slot a0 as output number `gate`: tables are then [output][chunk][256 bits].
@compute @workgroup_size(256)
fn colours(@builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) group: vec3<u32>) {
    let chunk = group.x;
    if lane < 8u {
        var word = 0u;
        for (var i = 0u; i < 32u; i += 1u) {
            word |= (label(params.a0, chunk * CHUNK + lane * 32u + i).x & 1u) << i;
        }
        words[lane] = word;
    }
    workgroupBarrier();
    if lane < 2u {
        let at = (params.gate * (params.instances / CHUNK) + chunk) * 2u + lane;
        tables[at] = vec4<u32>(words[4u * lane], words[4u * lane + 1u], words[4u * lane + 2u], words[4u * lane + 3u]);
    }
}
