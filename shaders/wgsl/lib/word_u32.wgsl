// Word arithmetic, portable body: words are (lo, hi) pairs of u32 in registers and in memory; 32-bit
// products are split into 16-bit halves, as WGSL has no wide product. Same interface as word_u64.wgsl.

alias Word = vec2<u32>;

struct Wide { lo: Word, hi: Word }

const W_ZERO: Word = vec2<u32>(0u, 0u);

fn w_from(v: vec2<u32>) -> Word { return v; }

fn w_to(w: Word) -> vec2<u32> { return w; }

fn w_add(a: Word, b: Word) -> Word {
    let lo = a.x + b.x;
    return vec2<u32>(lo, a.y + b.y + u32(lo < a.x));
}

fn w_sub(a: Word, b: Word) -> Word { return vec2<u32>(a.x - b.x, a.y - b.y - u32(a.x < b.x)); }

fn w_less(a: Word, b: Word) -> bool { return (a.y < b.y) || (a.y == b.y && a.x < b.x); }

// a if the condition holds, else b.
fn w_pick(a: Word, b: Word, condition: bool) -> Word { return select(b, a, condition); }

// [0, 2m) to [0, m).
fn w_csub(x: Word, m: Word) -> Word { return select(w_sub(x, m), x, w_less(x, m)); }

// Shifts by 1..63.
fn w_shl(a: Word, by: u32) -> Word {
    if by >= 32u {
        return vec2<u32>(0u, a.x << (by - 32u));
    }
    return vec2<u32>(a.x << by, (a.y << by) | (a.x >> (32u - by)));
}

fn w_shr(a: Word, by: u32) -> Word {
    if by >= 32u {
        return vec2<u32>(a.y >> (by - 32u), 0u);
    }
    return vec2<u32>((a.x >> by) | (a.y << (32u - by)), a.y >> by);
}

fn w_double(a: Word) -> Word { return vec2<u32>(a.x << 1u, (a.y << 1u) | (a.x >> 31u)); }

// All 64 bits of a product of two u32. No sum overflows: (2^16 - 1)^2 + 2 (2^16 - 1) = 2^32 - 1.
fn mul_wide_32(a: u32, b: u32) -> vec2<u32> {
    let a0 = a & 0xffffu;
    let a1 = a >> 16u;
    let b0 = b & 0xffffu;
    let b1 = b >> 16u;
    let low = a0 * b0;
    let mid = a1 * b0 + (low >> 16u);
    let mid2 = a0 * b1 + (mid & 0xffffu);
    return vec2<u32>((mid2 << 16u) | (low & 0xffffu), a1 * b1 + (mid >> 16u) + (mid2 >> 16u));
}

// acc + a * b mod 2^64 for 32-bit factors.
fn w_mad(acc: Word, a: u32, b: u32) -> Word { return w_add(acc, mul_wide_32(a, b)); }

// a * b mod 2^64.
fn w_mul_lo(a: Word, b: Word) -> Word {
    let low = mul_wide_32(a.x, b.x);
    return vec2<u32>(low.x, low.y + a.x * b.y + a.y * b.x);
}

// All 128 bits. No sum overflows: (2^32 - 1)^2 + 2 (2^32 - 1) = 2^64 - 1.
fn w_mul_wide(a: Word, b: Word) -> Wide {
    let low = mul_wide_32(a.x, b.x);
    let mid = w_mad(vec2<u32>(low.y, 0u), a.y, b.x);
    let mid2 = w_mad(vec2<u32>(mid.x, 0u), a.x, b.y);
    let high = w_add(w_mad(vec2<u32>(mid.y, 0u), a.y, b.y), vec2<u32>(mid2.y, 0u));
    return Wide(vec2<u32>(low.x, mid2.x), high);
}

// floor(a * b / 2^64).
fn w_mul_hi(a: Word, b: Word) -> Word { return w_mul_wide(a, b).hi; }
