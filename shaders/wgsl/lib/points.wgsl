// Points of a transform as they are: the last pass of ntt_forward writes them, the first of ntt_inverse reads them.

fn start_points(limb: u32, row: u32) {}

fn load_point(at: u32) -> vec2<u32> { return data[at]; }

fn store_point(at: u32, x: vec2<u32>) { data[at] = x; }
