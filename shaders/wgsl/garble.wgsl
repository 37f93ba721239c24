// Half-gates over many instances (Zahur, Rosulek, Evans, 2015), the formulas of engine/src/garble.rs. A workgroup is the 256
// instances that share a gate's two keys; labels are [slot][instance], keys [chunk][gate][2], tables
// [chunk][gate][row][256 instances], the generator's row first.

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
@group(0) @binding(2) var<storage, read> keys: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read_write> tables: array<vec4<u32>>;

const CHUNK: u32 = 256u;

fn label(slot: u32, instance: u32) -> Block { return labels[slot * params.instances + instance]; }

// x if the colour of `by` is one, else zero.
fn where_coloured(x: Block, by: Block) -> Block { return x & Block(0u - (by.x & 1u)); }

// Table and round keys; by all lanes.
fn start(chunk: u32, lane: u32) {
    aes_load_table(lane);
    workgroupBarrier();
    if lane < 2u {
        aes_expand(lane, keys[(chunk * params.gates + params.gate) * 2u + lane]);
    }
    workgroupBarrier();
}

fn row(chunk: u32, which: u32, lane: u32) -> u32 {
    return ((chunk * params.gates + params.gate) * 2u + which) * CHUNK + lane;
}

@compute @workgroup_size(256)
fn garble_and(@builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) group: vec3<u32>) {
    let chunk = group.x;
    start(chunk, lane);
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
    start(chunk, lane);
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
