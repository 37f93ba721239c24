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

// Neighbouring lanes read and write in different banks, whichever pass. A lane clears the places that it was the last to read.
var<workgroup> tile: array<vec2<u32>, POINTS>;

fn swizzle(i: u32) -> u32 { return i ^ ((i >> 4u) & 15u); }

// Lanes a workgroup: 16 points each.
const LANES: u32 = POINTS / 16u;
// Distance of a lane's points in the middle pass, and the radix of the pass over neighbours.
const STEP: u32 = LANES / 16u;

@compute @workgroup_size(LANES)
fn ntt_inverse(@builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) group: vec3<u32>) {
    let limb = group.y % params.limbs;
    let points = points_of(limb, group.y, params.factor_rows, params.n);
    let q = modulus(limb).q;
    let two_q = w_double(q);
    let four_q = w_double(two_q);
    let eight_q = w_double(four_q);
    let node = params.chunks + group.x;
    let base = group.y * params.n + group.x * POINTS;
    let block = lane / STEP;
    let middle = block * LANES + lane % STEP;
    // Where the factors of the three passes start.
    let wide_at = roots_of(limb) * params.n;
    let own_at = wide_at + lane;
    @i<16 var v$i: Word;
    if THROUGH_TILE == 1u {
        // Neighbouring lanes read neighbouring words.
        @i<16 tile[swizzle(lane + $iu * LANES)] = load_point(base + lane + $iu * LANES, points);
        workgroupBarrier();
        @i<16 v$i = w_from(tile[swizzle(16u * lane + $iu * 1u)]);
    } else {
        @i<16 v$i = w_from(load_point(base + 16u * lane + $iu, points));
    }
    @range 1
    @inverse 16 LAST_RADIX 0 root(own_at + ((256u * node) << $lu) + (($bu << $lu) + $ju) * LANES)
    @below 2
    // The same places: no other lane reads or writes them in this pass.
    @i<16 tile[swizzle(16u * lane + $iu * 1u)] = w_to(v$i);
    workgroupBarrier();

    @i<16 v$i = w_from(tile[swizzle(middle + $iu * STEP)]);
    @range 2
    @inverse 16 16 0 root(wide_at + ((16u * node + block) << $lu) + $ju)
    @below 2
    @i<16 tile[swizzle(middle + $iu * STEP)] = w_to(v$i);
    workgroupBarrier();

    @i<16 v$i = w_from(tile[swizzle(lane + $iu * LANES)]);
    @i<16 tile[swizzle(lane + $iu * LANES)] = vec2<u32>(0u);
    let n_inv = modulus_factor(limb, 3u);
    let last_root = root(wide_at);
    @range 2
    @inverse 16 16 LAST root(wide_at + (node << $lu) + $ju)
    @below 2
    @i<16 data[base + lane + $iu * LANES] = w_to(v$i);
}
