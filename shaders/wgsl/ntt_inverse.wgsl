// Inverse of ntt_forward, pass by pass: the first log2(POINTS) stages of rows of n = chunks * POINTS points. With LAST = 1 there are
// no more, and n^-1 is taken along. Values in [0, q) in; below 2q between passes and out, or in [0, q) after the last
// stage. What is read is lib/points.wgsl's or lib/points_product.wgsl's. x: chunk, y: row.

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
    tile[swizzle(at + 0u * step)] = w_to(v[0]);
    tile[swizzle(at + 1u * step)] = w_to(v[1]);
    tile[swizzle(at + 2u * step)] = w_to(v[2]);
    tile[swizzle(at + 3u * step)] = w_to(v[3]);
    tile[swizzle(at + 4u * step)] = w_to(v[4]);
    tile[swizzle(at + 5u * step)] = w_to(v[5]);
    tile[swizzle(at + 6u * step)] = w_to(v[6]);
    tile[swizzle(at + 7u * step)] = w_to(v[7]);
    tile[swizzle(at + 8u * step)] = w_to(v[8]);
    tile[swizzle(at + 9u * step)] = w_to(v[9]);
    tile[swizzle(at + 10u * step)] = w_to(v[10]);
    tile[swizzle(at + 11u * step)] = w_to(v[11]);
    tile[swizzle(at + 12u * step)] = w_to(v[12]);
    tile[swizzle(at + 13u * step)] = w_to(v[13]);
    tile[swizzle(at + 14u * step)] = w_to(v[14]);
    tile[swizzle(at + 15u * step)] = w_to(v[15]);
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
fn ntt_inverse(@builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) group: vec3<u32>) {
    let limb = group.y % params.limbs;
    start(limb, params.n);
    start_points(limb, group.y);
    let node = params.chunks + group.x;
    let base = group.y * params.n + group.x * POINTS;
    if THROUGH_TILE == 1u {
        // Neighbouring lanes read neighbouring words.
        tile[swizzle(lane + 0u * LANES)] = load_point(base + lane + 0u * LANES);
        tile[swizzle(lane + 1u * LANES)] = load_point(base + lane + 1u * LANES);
        tile[swizzle(lane + 2u * LANES)] = load_point(base + lane + 2u * LANES);
        tile[swizzle(lane + 3u * LANES)] = load_point(base + lane + 3u * LANES);
        tile[swizzle(lane + 4u * LANES)] = load_point(base + lane + 4u * LANES);
        tile[swizzle(lane + 5u * LANES)] = load_point(base + lane + 5u * LANES);
        tile[swizzle(lane + 6u * LANES)] = load_point(base + lane + 6u * LANES);
        tile[swizzle(lane + 7u * LANES)] = load_point(base + lane + 7u * LANES);
        tile[swizzle(lane + 8u * LANES)] = load_point(base + lane + 8u * LANES);
        tile[swizzle(lane + 9u * LANES)] = load_point(base + lane + 9u * LANES);
        tile[swizzle(lane + 10u * LANES)] = load_point(base + lane + 10u * LANES);
        tile[swizzle(lane + 11u * LANES)] = load_point(base + lane + 11u * LANES);
        tile[swizzle(lane + 12u * LANES)] = load_point(base + lane + 12u * LANES);
        tile[swizzle(lane + 13u * LANES)] = load_point(base + lane + 13u * LANES);
        tile[swizzle(lane + 14u * LANES)] = load_point(base + lane + 14u * LANES);
        tile[swizzle(lane + 15u * LANES)] = load_point(base + lane + 15u * LANES);
        workgroupBarrier();
        exchange_in(16u * lane, 1u);
    } else {
        v[0] = w_from(load_point(base + 16u * lane + 0u));
        v[1] = w_from(load_point(base + 16u * lane + 1u));
        v[2] = w_from(load_point(base + 16u * lane + 2u));
        v[3] = w_from(load_point(base + 16u * lane + 3u));
        v[4] = w_from(load_point(base + 16u * lane + 4u));
        v[5] = w_from(load_point(base + 16u * lane + 5u));
        v[6] = w_from(load_point(base + 16u * lane + 6u));
        v[7] = w_from(load_point(base + 16u * lane + 7u));
        v[8] = w_from(load_point(base + 16u * lane + 8u));
        v[9] = w_from(load_point(base + 16u * lane + 9u));
        v[10] = w_from(load_point(base + 16u * lane + 10u));
        v[11] = w_from(load_point(base + 16u * lane + 11u));
        v[12] = w_from(load_point(base + 16u * lane + 12u));
        v[13] = w_from(load_point(base + 16u * lane + 13u));
        v[14] = w_from(load_point(base + 16u * lane + 14u));
        v[15] = w_from(load_point(base + 16u * lane + 15u));
    }
    if STEP == 16u {
        inverse_16(256u * node + lane);
        settle_16();
    } else if STEP == 8u {
        inverse_8(0u, 256u * node + 2u * lane);
        inverse_8(8u, 256u * node + 2u * lane + 1u);
        settle_8(0u);
        settle_8(8u);
    } else {
        inverse_4(0u, 256u * node + 4u * lane);
        inverse_4(4u, 256u * node + 4u * lane + 1u);
        inverse_4(8u, 256u * node + 4u * lane + 2u);
        inverse_4(12u, 256u * node + 4u * lane + 3u);
        settle_4(0u);
        settle_4(4u);
        settle_4(8u);
        settle_4(12u);
    }
    // The same places: no other lane reads or writes them in this pass.
    exchange_out(16u * lane, 1u);
    workgroupBarrier();

    let block = lane / STEP;
    let middle = block * LANES + lane % STEP;
    exchange_in(middle, STEP);
    inverse_16(16u * node + block);
    settle_16();
    exchange_out(middle, STEP);
    workgroupBarrier();

    exchange_in(lane, LANES);
    clear(lane, LANES);
    if LAST == 1u {
        start_last(limb);
        inverse_16_last();
    } else {
        inverse_16(node);
        settle_16();
    }
    data[base + lane + 0u * LANES] = w_to(v[0]);
    data[base + lane + 1u * LANES] = w_to(v[1]);
    data[base + lane + 2u * LANES] = w_to(v[2]);
    data[base + lane + 3u * LANES] = w_to(v[3]);
    data[base + lane + 4u * LANES] = w_to(v[4]);
    data[base + lane + 5u * LANES] = w_to(v[5]);
    data[base + lane + 6u * LANES] = w_to(v[6]);
    data[base + lane + 7u * LANES] = w_to(v[7]);
    data[base + lane + 8u * LANES] = w_to(v[8]);
    data[base + lane + 9u * LANES] = w_to(v[9]);
    data[base + lane + 10u * LANES] = w_to(v[10]);
    data[base + lane + 11u * LANES] = w_to(v[11]);
    data[base + lane + 12u * LANES] = w_to(v[12]);
    data[base + lane + 13u * LANES] = w_to(v[13]);
    data[base + lane + 14u * LANES] = w_to(v[14]);
    data[base + lane + 15u * LANES] = w_to(v[15]);
}
