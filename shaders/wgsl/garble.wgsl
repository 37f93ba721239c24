// Half-gates over many instances (Zahur, Rosulek, Evans, 2015), the formulas of engine/src/garble.rs, over the hash of
// lib/aes.wgsl or lib/chacha.wgsl. A workgroup is the 256 instances that share the keys of gates, and runs all steps of a
// circuit: no lane reads what another has written. Labels are [slot][instance],
// keys [chunk][gate][2], tables [chunk][gate][row][256 instances], the generator's row first.

struct Params {
    delta: vec4<u32>,
    // Labels a slot has room for, a multiple of 256.
    instances: u32,
    gates: u32,
    // Steps of this dispatch and the first of them.
    steps: u32,
    first: u32,
}

var<immediate> params: Params;

@group(0) @binding(1) var<storage, read_write> labels: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read_write> tables: array<vec4<u32>>;
// Two a step: (kind and flips, a0, a1, b0), (b1, sum, out, gate). An AND's inputs are a0 xor a1 and b0 xor b1, sum is added to
// its output; flips, from bit 8: the first input is negated, from bit 9: the second. colours: one slot an output.
@group(0) @binding(4) var<storage, read> steps: array<vec4<u32>>;

const CHUNK: u32 = 256u;

// Kinds of steps.
// out = a0 xor a1
const XOR: u32 = 0u;
const AND: u32 = 1u;
// Makes the keys of GATES_AHEAD gates from `gate` on ready, those that there are.
const KEYS: u32 = 2u;

fn label(slot: u32, instance: u32) -> Block { return labels[slot * params.instances + instance]; }

// x if the colour of `by` is one, else zero.
fn where_coloured(x: Block, by: Block) -> Block { return x & Block(0u - (by.x & 1u)); }

fn row(chunk: u32, gate: u32, which: u32, lane: u32) -> u32 {
    return ((chunk * params.gates + gate) * 2u + which) * CHUNK + lane;
}

fn start_keys(lane: u32, chunk: u32, gate: u32) {
    // Nobody hashes with the old ones any more.
    workgroupBarrier();
    hash_keys(lane, chunk * params.gates + gate, min(GATES_AHEAD, params.gates - gate));
    workgroupBarrier();
}

@compute @workgroup_size(256)
fn garble(@builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) group: vec3<u32>) {
    hash_start(lane);
    let chunk = group.x;
    let i = chunk * CHUNK + lane;
    let delta = params.delta;
    for (var step = params.first; step < params.first + params.steps; step += 1u) {
        let head = steps[2u * step];
        let tail = steps[2u * step + 1u];
        let kind = head.x & 255u;
        let gate = tail.w;
        let out = tail.z * params.instances + i;
        if kind == KEYS {
            start_keys(lane, chunk, gate);
        } else if kind == XOR {
            labels[out] = label(head.y, i) ^ label(head.z, i);
        } else {
            let key = 2u * (gate % GATES_AHEAD);
            let a = label(head.y, i) ^ label(head.z, i) ^ (delta & Block(0u - ((head.x >> 8u) & 1u)));
            let b = label(head.w, i) ^ label(tail.x, i) ^ (delta & Block(0u - ((head.x >> 9u) & 1u)));
            let ha = gate_hash(key, a);
            let hb = gate_hash(key + 1u, b);
            let generator = ha ^ gate_hash(key, a ^ delta) ^ where_coloured(delta, b);
            let difference = hb ^ gate_hash(key + 1u, b ^ delta);
            tables[row(chunk, gate, 0u, lane)] = generator;
            tables[row(chunk, gate, 1u, lane)] = difference ^ a;
            labels[out] = ha ^ where_coloured(generator, a) ^ hb ^ where_coloured(difference, b) ^ label(tail.y, i);
        }
    }
}

@compute @workgroup_size(256)
fn evaluate(@builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) group: vec3<u32>) {
    hash_start(lane);
    let chunk = group.x;
    let i = chunk * CHUNK + lane;
    for (var step = params.first; step < params.first + params.steps; step += 1u) {
        let head = steps[2u * step];
        let tail = steps[2u * step + 1u];
        let kind = head.x & 255u;
        let gate = tail.w;
        let out = tail.z * params.instances + i;
        if kind == KEYS {
            start_keys(lane, chunk, gate);
        } else if kind == XOR {
            labels[out] = label(head.y, i) ^ label(head.z, i);
        } else {
            let key = 2u * (gate % GATES_AHEAD);
            let a = label(head.y, i) ^ label(head.z, i);
            let b = label(head.w, i) ^ label(tail.x, i);
            let generator = tables[row(chunk, gate, 0u, lane)];
            let evaluator = tables[row(chunk, gate, 1u, lane)];
            labels[out] = gate_hash(key, a) ^ where_coloured(generator, a)
                ^ gate_hash(key + 1u, b) ^ where_coloured(evaluator ^ a, b) ^ label(tail.y, i);
        }
    }
}

var<workgroup> words: array<u32, 8>;

// The colours of the slots in `steps`, y: output. tables are then [output][chunk][256 bits].
@compute @workgroup_size(256)
fn colours(@builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) group: vec3<u32>) {
    let chunk = group.x;
    let slot = steps[group.y].x;
    if lane < 8u {
        var word = 0u;
        for (var i = 0u; i < 32u; i += 1u) {
            word |= (label(slot, chunk * CHUNK + lane * 32u + i).x & 1u) << i;
        }
        words[lane] = word;
    }
    workgroupBarrier();
    if lane < 2u {
        let at = (group.y * (params.instances / CHUNK) + chunk) * 2u + lane;
        tables[at] = vec4<u32>(words[4u * lane], words[4u * lane + 1u], words[4u * lane + 2u], words[4u * lane + 3u]);
    }
}
