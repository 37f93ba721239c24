//! Unrolled code: WGSL has neither macros nor arrays that are sure to stay in registers, so points and sums are
//! variables of their own (`v0`, `v1`, ...), and what is done to all of them is written once and expanded here.
//!
//! A line may begin with
//! - `@i<N`: the rest once for every i below N, with `$i` the number. N is a number or a constant of the module.
//! - `@forward N R w`: butterflies (Cooley-Tukey) of radix R on `v0` to `v(N-1)`, block after block of R. `w` is the
//!   expression of the factor of node `$j` on level `$l` of block `$b`: level 0 is a block's first stage, of one node.
//! - `@inverse N R LAST w`: the same (Gentleman-Sande), the levels from the deepest to 0. With LAST = 1 the sums of
//!   level 0 are multiplied by `n_inv`, and all ends below q.
//! - `@range B`: all points are below B q, from another lane.
//! - `@below B`: brings all points below B q.
//!
//! The range of every point is known here, in multiples of q. With q below 2^60 a word holds 16 q; before a sum would
//! leave it, points are reduced. A stage forward adds 2q, and any word may be multiplied; in a stage of the inverse a
//! sum's range is that of both points together, a product's 2q. After Harvey, "Faster arithmetic for number-theoretic
//! transforms" (2014).

/// What a word holds, in multiples of q.
const WORD: u32 = 16;

struct Unroller<'a> {
    constants: &'a [(&'a str, u32)],
    out: String,
    /// The points' ranges.
    below: [u32; 16],
    /// Names given so far.
    names: usize,
}

/// Expands the lines of a module.
pub(crate) fn unroll(source: &str, constants: &[(&str, u32)]) -> String {
    let mut unroller = Unroller { constants, out: String::with_capacity(2 * source.len()), below: [1; 16], names: 0 };
    source.lines().for_each(|line| unroller.line(line.trim_start()));
    unroller.out
}

impl Unroller<'_> {
    fn number(&self, text: &str) -> u32 {
        let constant = self.constants.iter().find(|(name, _)| *name == text);
        constant.map_or_else(|| text.parse().expect("a number or a constant"), |(_, value)| *value)
    }

    fn emit(&mut self, line: &str) {
        self.out.push_str(line);
        self.out.push('\n');
    }

    fn line(&mut self, line: &str) {
        let words: Vec<&str> = line.splitn(2, ' ').collect();
        let [first, rest] = words[..] else { return self.emit(line) };
        let arguments = |count: usize| rest.splitn(count, ' ').collect::<Vec<_>>();
        match first {
            "@forward" => {
                let [n, r, w] = arguments(3)[..] else { panic!("{line}") };
                self.blocks(n, r, |unroller, first, block, radix| unroller.forward(first, radix, [block, 0, 0], w));
            }
            "@inverse" => {
                let [n, r, last, w] = arguments(4)[..] else { panic!("{line}") };
                let last = self.number(last) == 1;
                self.blocks(n, r, |unroller, first, block, radix| {
                    unroller.inverse(first, radix, [block, 0, 0], last, w);
                });
            }
            "@range" => self.below = [self.number(rest); 16],
            "@below" => {
                let bound = self.number(rest);
                for i in 0..16 {
                    self.reduce(i, bound);
                }
            }
            _ => match first.strip_prefix('@').and_then(|range| range.split_once('<')) {
                Some((name, end)) => {
                    let name = format!("${name}");
                    (0..self.number(end)).for_each(|i| self.line(&rest.replace(&name, &i.to_string())));
                }
                None => self.emit(line),
            },
        }
    }

    fn blocks(&mut self, n: &str, r: &str, mut each: impl FnMut(&mut Self, usize, usize, usize)) {
        let [n, r] = [n, r].map(|text| self.number(text) as usize);
        (0..n / r).for_each(|block| each(self, block * r, block, r));
    }

    fn name(&mut self, prefix: &str) -> String {
        self.names += 1;
        format!("{prefix}{}", self.names)
    }

    /// Below `bound` q.
    fn reduce(&mut self, i: usize, bound: u32) {
        while self.below[i] > bound {
            let half = self.below[i].next_power_of_two() / 2;
            self.emit(&format!("v{i} = w_csub(v{i}, {});", multiple(half)));
            self.below[i] = half;
        }
    }

    /// The factor of a node, `[block, level, number on the level]`.
    fn factor(&mut self, [block, level, number]: [usize; 3], w: &str) -> String {
        let name = self.name("w");
        let values = [("$b", block), ("$l", level), ("$j", number)];
        let w = values.iter().fold(w.to_owned(), |w, (name, value)| w.replace(name, &value.to_string()));
        self.emit(&format!("let {name} = {w};"));
        name
    }

    fn forward(&mut self, first: usize, radix: usize, node: [usize; 3], w: &str) {
        let [block, level, number] = node;
        let (half, factor) = (radix / 2, self.factor(node, w));
        for i in first..first + half {
            let j = i + half;
            self.reduce(i, WORD - 2);
            let t = self.name("t");
            self.emit(&format!("let {t} = mod_mul_lazy(v{j}, {factor}, q);"));
            self.emit(&format!("v{j} = w_sub(w_add(v{i}, two_q), {t});"));
            self.emit(&format!("v{i} = w_add(v{i}, {t});"));
            self.below[i] += 2;
            self.below[j] = self.below[i];
        }
        if half > 1 {
            self.forward(first, half, [block, level + 1, 2 * number], w);
            self.forward(first + half, half, [block, level + 1, 2 * number + 1], w);
        }
    }

    fn inverse(&mut self, first: usize, radix: usize, node: [usize; 3], last: bool, w: &str) {
        let [block, level, number] = node;
        let half = radix / 2;
        if half > 1 {
            self.inverse(first, half, [block, level + 1, 2 * number], last, w);
            self.inverse(first + half, half, [block, level + 1, 2 * number + 1], last, w);
        }
        let last = last && level == 0;
        let factor = if last { "last_root".to_owned() } else { self.factor(node, w) };
        for i in first..first + half {
            let j = i + half;
            // The difference is made positive by the next power of two of the range.
            self.reduce(i, WORD / 2);
            self.reduce(j, WORD / 2);
            let (t, offset) = (self.name("t"), multiple(self.below[j].next_power_of_two()));
            self.emit(&format!("let {t} = w_sub(w_add(v{i}, {offset}), v{j});"));
            self.emit(&format!("v{i} = w_add(v{i}, v{j});"));
            self.below[i] += self.below[j];
            if last {
                self.emit(&format!("v{i} = mod_mul_factor(v{i}, n_inv, q);"));
                self.emit(&format!("v{j} = mod_mul_factor({t}, {factor}, q);"));
                (self.below[i], self.below[j]) = (1, 1);
            } else {
                self.emit(&format!("v{j} = mod_mul_lazy({t}, {factor}, q);"));
                self.below[j] = 2;
            }
        }
    }
}

/// The name of a multiple of q.
fn multiple(of: u32) -> &'static str {
    match of {
        1 => "q",
        2 => "two_q",
        4 => "four_q",
        8 => "eight_q",
        _ => unreachable!("{of} is no range of points"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_repeated_with_numbers() {
        let text = unroll("plain @ line\n  @r<ROWS @c<2 s_$r_$c += $ru;\n", &[("ROWS", 2)]);
        assert_eq!(text, "plain @ line\ns_0_0 += 0u;\ns_0_1 += 0u;\ns_1_0 += 1u;\ns_1_1 += 1u;\n");
    }

    #[test]
    fn butterflies_take_the_factors_of_their_nodes() {
        let text = unroll("@forward 4 4 root((node << $lu) + $ju)", &[]);
        let factors: Vec<&str> = text.lines().filter(|l| l.contains("root(")).collect();
        assert_eq!(
            factors,
            [
                "let w1 = root((node << 0u) + 0u);",
                "let w4 = root((node << 1u) + 0u);",
                "let w6 = root((node << 1u) + 1u);"
            ]
        );
        assert_eq!(text.matches("mod_mul_lazy").count(), 4);
        assert_eq!(unroll("@inverse 4 2 0 root($bu)", &[]).matches("root(1u)").count(), 1);
    }

    /// Four stages take values below 8q to values below 16q with no reduction; what comes out is reduced all the way.
    #[test]
    fn points_are_reduced_only_where_they_would_leave_a_word() {
        let text = unroll("@range 8\n@forward 16 16 w\n@below 8", &[]);
        assert_eq!(text.matches("w_csub").count(), 16);
        assert!(text.ends_with("v15 = w_csub(v15, eight_q);\n"));
        assert_eq!(unroll("@range 8\n@below 1", &[]).matches("w_csub").count(), 3 * 16);
    }
}
