// Forward negacyclic transform of chunks of POINTS (1024, 2048 or 4096) points: the last log2(POINTS) stages of
// rows of n = chunks * POINTS points. Natural order in, bit-reversed order out, with merged powers of psi.
//
// Three passes of radix 16 (the last one 16, 8 or 4) on 16 points a lane in registers, two exchanges through
// workgroup memory: first points LANES apart, then STEP apart within blocks of LANES, then neighbours.
// Values below 8q in, in [0, q) out; where they go is lib/points.wgsl's or lib/points_accumulate.wgsl's. x: chunk, y: row.

struct Params {
    n: u32,
    limbs: u32,
    // Chunks a row.
    chunks: u32,
    // Rows of a factor before it repeats.
    factor_rows: u32,
}

var<immediate> params: Params;

// Neighbouring lanes read and write in different banks, whichever pass.
var<workgroup> tile: array<vec2<u32>, POINTS>;

fn swizzle(i: u32) -> u32 { return i ^ ((i >> 4u) & 15u); }

// Lanes a workgroup: 16 points each.
const LANES: u32 = POINTS / 16u;
// Distance of a lane's points in the middle pass.
const STEP: u32 = LANES / 16u;

fn exchange_out(at: u32, step: u32) {
    tile[swizzle(at + 0u * step)] = w_to(settle_forward(0u));
    tile[swizzle(at + 1u * step)] = w_to(settle_forward(1u));
    tile[swizzle(at + 2u * step)] = w_to(settle_forward(2u));
    tile[swizzle(at + 3u * step)] = w_to(settle_forward(3u));
    tile[swizzle(at + 4u * step)] = w_to(settle_forward(4u));
    tile[swizzle(at + 5u * step)] = w_to(settle_forward(5u));
    tile[swizzle(at + 6u * step)] = w_to(settle_forward(6u));
    tile[swizzle(at + 7u * step)] = w_to(settle_forward(7u));
    tile[swizzle(at + 8u * step)] = w_to(settle_forward(8u));
    tile[swizzle(at + 9u * step)] = w_to(settle_forward(9u));
    tile[swizzle(at + 10u * step)] = w_to(settle_forward(10u));
    tile[swizzle(at + 11u * step)] = w_to(settle_forward(11u));
    tile[swizzle(at + 12u * step)] = w_to(settle_forward(12u));
    tile[swizzle(at + 13u * step)] = w_to(settle_forward(13u));
    tile[swizzle(at + 14u * step)] = w_to(settle_forward(14u));
    tile[swizzle(at + 15u * step)] = w_to(settle_forward(15u));
}

fn exchange_in(at: u32, step: u32) {
    v[0] = w_from(tile[swizzle(at + 0u * step)]);
    v[1] = w_from(tile[swizzle(at + 1u * step)]);
    v[2] = w_from(tile[swizzle(at + 2u * step)]);
    v[3] = w_from(tile[swizzle(at + 3u * step)]);
    v[4] = w_from(tile[swizzle(at + 4u * step)]);
    v[5] = w_from(tile[swizzle(at + 5u * step)]);
    v[6] = w_from(tile[swizzle(at + 6u * step)]);
    v[7] = w_from(tile[swizzle(at + 7u * step)]);
    v[8] = w_from(tile[swizzle(at + 8u * step)]);
    v[9] = w_from(tile[swizzle(at + 9u * step)]);
    v[10] = w_from(tile[swizzle(at + 10u * step)]);
    v[11] = w_from(tile[swizzle(at + 11u * step)]);
    v[12] = w_from(tile[swizzle(at + 12u * step)]);
    v[13] = w_from(tile[swizzle(at + 13u * step)]);
    v[14] = w_from(tile[swizzle(at + 14u * step)]);
    v[15] = w_from(tile[swizzle(at + 15u * step)]);
}

// Zeros at the places that this lane read last: what is left in workgroup memory, another program on the same card may read, and
// rows hold secrets. Drivers that drop stores that nothing reads are out of reach.
fn clear(at: u32, step: u32) {
    for (var i = 0u; i < 16u; i++) {
        tile[swizzle(at + i * step)] = vec2<u32>(0u, 0u);
    }
}

@compute @workgroup_size(LANES)
fn ntt_forward(@builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) group: vec3<u32>) {
    start(group.y % params.limbs, params.n);
    start_points(group.y % params.limbs, group.y);
    let node = params.chunks + group.x;
    let base = group.y * params.n + group.x * POINTS;
    v[0] = w_from(data[base + lane + 0u * LANES]);
    v[1] = w_from(data[base + lane + 1u * LANES]);
    v[2] = w_from(data[base + lane + 2u * LANES]);
    v[3] = w_from(data[base + lane + 3u * LANES]);
    v[4] = w_from(data[base + lane + 4u * LANES]);
    v[5] = w_from(data[base + lane + 5u * LANES]);
    v[6] = w_from(data[base + lane + 6u * LANES]);
    v[7] = w_from(data[base + lane + 7u * LANES]);
    v[8] = w_from(data[base + lane + 8u * LANES]);
    v[9] = w_from(data[base + lane + 9u * LANES]);
    v[10] = w_from(data[base + lane + 10u * LANES]);
    v[11] = w_from(data[base + lane + 11u * LANES]);
    v[12] = w_from(data[base + lane + 12u * LANES]);
    v[13] = w_from(data[base + lane + 13u * LANES]);
    v[14] = w_from(data[base + lane + 14u * LANES]);
    v[15] = w_from(data[base + lane + 15u * LANES]);
    forward_16(node);
    exchange_out(lane, LANES);
    workgroupBarrier();

    let block = lane / STEP;
    let middle = block * LANES + lane % STEP;
    exchange_in(middle, STEP);
    forward_16(16u * node + block);
    // The same places: no other lane reads or writes them in this pass.
    exchange_out(middle, STEP);
    workgroupBarrier();

    exchange_in(16u * lane, 1u);
    if STEP == 16u {
        forward_16(256u * node + lane);
    } else if STEP == 8u {
        forward_8(0u, 256u * node + 2u * lane);
        forward_8(8u, 256u * node + 2u * lane + 1u);
    } else {
        forward_4(0u, 256u * node + 4u * lane);
        forward_4(4u, 256u * node + 4u * lane + 1u);
        forward_4(8u, 256u * node + 4u * lane + 2u);
        forward_4(12u, 256u * node + 4u * lane + 3u);
    }
    if THROUGH_TILE == 1u {
        // Neighbouring lanes write neighbouring words.
        tile[swizzle(16u * lane + 0u)] = w_to(finish_forward(0u));
        tile[swizzle(16u * lane + 1u)] = w_to(finish_forward(1u));
        tile[swizzle(16u * lane + 2u)] = w_to(finish_forward(2u));
        tile[swizzle(16u * lane + 3u)] = w_to(finish_forward(3u));
        tile[swizzle(16u * lane + 4u)] = w_to(finish_forward(4u));
        tile[swizzle(16u * lane + 5u)] = w_to(finish_forward(5u));
        tile[swizzle(16u * lane + 6u)] = w_to(finish_forward(6u));
        tile[swizzle(16u * lane + 7u)] = w_to(finish_forward(7u));
        tile[swizzle(16u * lane + 8u)] = w_to(finish_forward(8u));
        tile[swizzle(16u * lane + 9u)] = w_to(finish_forward(9u));
        tile[swizzle(16u * lane + 10u)] = w_to(finish_forward(10u));
        tile[swizzle(16u * lane + 11u)] = w_to(finish_forward(11u));
        tile[swizzle(16u * lane + 12u)] = w_to(finish_forward(12u));
        tile[swizzle(16u * lane + 13u)] = w_to(finish_forward(13u));
        tile[swizzle(16u * lane + 14u)] = w_to(finish_forward(14u));
        tile[swizzle(16u * lane + 15u)] = w_to(finish_forward(15u));
        workgroupBarrier();
        store_point(base + lane + 0u * LANES, tile[swizzle(lane + 0u * LANES)]);
        store_point(base + lane + 1u * LANES, tile[swizzle(lane + 1u * LANES)]);
        store_point(base + lane + 2u * LANES, tile[swizzle(lane + 2u * LANES)]);
        store_point(base + lane + 3u * LANES, tile[swizzle(lane + 3u * LANES)]);
        store_point(base + lane + 4u * LANES, tile[swizzle(lane + 4u * LANES)]);
        store_point(base + lane + 5u * LANES, tile[swizzle(lane + 5u * LANES)]);
        store_point(base + lane + 6u * LANES, tile[swizzle(lane + 6u * LANES)]);
        store_point(base + lane + 7u * LANES, tile[swizzle(lane + 7u * LANES)]);
        store_point(base + lane + 8u * LANES, tile[swizzle(lane + 8u * LANES)]);
        store_point(base + lane + 9u * LANES, tile[swizzle(lane + 9u * LANES)]);
        store_point(base + lane + 10u * LANES, tile[swizzle(lane + 10u * LANES)]);
        store_point(base + lane + 11u * LANES, tile[swizzle(lane + 11u * LANES)]);
        store_point(base + lane + 12u * LANES, tile[swizzle(lane + 12u * LANES)]);
        store_point(base + lane + 13u * LANES, tile[swizzle(lane + 13u * LANES)]);
        store_point(base + lane + 14u * LANES, tile[swizzle(lane + 14u * LANES)]);
        store_point(base + lane + 15u * LANES, tile[swizzle(lane + 15u * LANES)]);
        clear(lane, LANES);
    } else {
        store_point(base + 16u * lane + 0u, w_to(finish_forward(0u)));
        store_point(base + 16u * lane + 1u, w_to(finish_forward(1u)));
        store_point(base + 16u * lane + 2u, w_to(finish_forward(2u)));
        store_point(base + 16u * lane + 3u, w_to(finish_forward(3u)));
        store_point(base + 16u * lane + 4u, w_to(finish_forward(4u)));
        store_point(base + 16u * lane + 5u, w_to(finish_forward(5u)));
        store_point(base + 16u * lane + 6u, w_to(finish_forward(6u)));
        store_point(base + 16u * lane + 7u, w_to(finish_forward(7u)));
        store_point(base + 16u * lane + 8u, w_to(finish_forward(8u)));
        store_point(base + 16u * lane + 9u, w_to(finish_forward(9u)));
        store_point(base + 16u * lane + 10u, w_to(finish_forward(10u)));
        store_point(base + 16u * lane + 11u, w_to(finish_forward(11u)));
        store_point(base + 16u * lane + 12u, w_to(finish_forward(12u)));
        store_point(base + 16u * lane + 13u, w_to(finish_forward(13u)));
        store_point(base + 16u * lane + 14u, w_to(finish_forward(14u)));
        store_point(base + 16u * lane + 15u, w_to(finish_forward(15u)));
        clear(16u * lane, 1u);
    }
}
