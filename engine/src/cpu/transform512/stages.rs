//! The butterflies of one pass, for any arithmetic and either direction: macros over its registers `$x` and constants
//! `$c`.

/// Forward butterflies with one factor: parity of the stage, how x comes in, how both results go out.
macro_rules! down {
    ($c:ident, $x:ident, $w:expr; $($even:tt $in:tt $out:tt: $($i:literal $j:literal),*);*) => {{
        let w = $w;
        $($( ($x[$i], $x[$j]) = forward_each::<$even, { $in }, { $out }, _>($c, $x[$i], $x[$j], w); )*)*
    }};
}

/// Inverse butterflies with one factor: how x and y come in. Products go out loosely.
macro_rules! up {
    ($roots:expr, $c:ident, $x:ident, $w:expr; $($in:tt: $($i:literal $j:literal),*);*) => {{
        let w = $w;
        $($( ($x[$i], $x[$j]) = inverse_each::<{ $in }, LOOSE, _>($c, $x[$i], $x[$j], w); )*)*
    }};
}

/// The same in the last stage of a pass: products go out exactly.
macro_rules! up_exact {
    ($roots:expr, $c:ident, $x:ident, $w:expr; $($in:tt: $($i:literal $j:literal),*);*) => {{
        let w = $w;
        $($( ($x[$i], $x[$j]) = inverse_each::<{ $in }, EXACT, _>($c, $x[$i], $x[$j], w); )*)*
    }};
}

/// The last stage of all, which brings 1/n in: `$w` gives both factors.
macro_rules! up_last {
    ($roots:expr, $c:ident, $x:ident, $w:expr; $($in:tt: $($i:literal $j:literal),*);*) => {{
        $($( ($x[$i], $x[$j]) = inverse_last_each($roots, $c, $x[$i], $x[$j]); )*)*
    }};
}

/// All stages of radix 2, 4, 8 or 16, first to last; `$w(s, b)` is the factor of block b in stage s. What is the first
/// value of a butterfly in the next stage goes out exactly, the second ones loosely.
macro_rules! stages_down {
    (1, $even:literal $odd:literal, $c:ident, $x:ident, $w:expr, $in:ident, $last:ident) => {{
        down!($c, $x, $w(0, 0); $even $in $last: 0 1);
    }};
    (2, $even:literal $odd:literal, $c:ident, $x:ident, $w:expr, $in:ident, $last:ident) => {{
        down!($c, $x, $w(0, 0); $even $in EXACT: 0 2; $even $in LOOSE: 1 3);
        down!($c, $x, $w(1, 0); $odd SUM $last: 0 1);
        down!($c, $x, $w(1, 1); $odd DIFFERENCE $last: 2 3);
    }};
    (3, $even:literal $odd:literal, $c:ident, $x:ident, $w:expr, $in:ident, $last:ident) => {{
        down!($c, $x, $w(0, 0); $even $in EXACT: 0 4, 1 5; $even $in LOOSE: 2 6, 3 7);
        down!($c, $x, $w(1, 0); $odd SUM EXACT: 0 2; $odd SUM LOOSE: 1 3);
        down!($c, $x, $w(1, 1); $odd DIFFERENCE EXACT: 4 6; $odd DIFFERENCE LOOSE: 5 7);
        down!($c, $x, $w(2, 0); $even SUM $last: 0 1);
        down!($c, $x, $w(2, 1); $even DIFFERENCE $last: 2 3);
        down!($c, $x, $w(2, 2); $even SUM $last: 4 5);
        down!($c, $x, $w(2, 3); $even DIFFERENCE $last: 6 7);
    }};
    (4, $even:literal $odd:literal, $c:ident, $x:ident, $w:expr, $in:ident, $last:ident) => {{
        down!($c, $x, $w(0, 0); $even $in EXACT: 0 8, 1 9, 2 10, 3 11; $even $in LOOSE: 4 12, 5 13, 6 14, 7 15);
        down!($c, $x, $w(1, 0); $odd SUM EXACT: 0 4, 1 5; $odd SUM LOOSE: 2 6, 3 7);
        down!($c, $x, $w(1, 1); $odd DIFFERENCE EXACT: 8 12, 9 13; $odd DIFFERENCE LOOSE: 10 14, 11 15);
        down!($c, $x, $w(2, 0); $even SUM EXACT: 0 2; $even SUM LOOSE: 1 3);
        down!($c, $x, $w(2, 1); $even DIFFERENCE EXACT: 4 6; $even DIFFERENCE LOOSE: 5 7);
        down!($c, $x, $w(2, 2); $even SUM EXACT: 8 10; $even SUM LOOSE: 9 11);
        down!($c, $x, $w(2, 3); $even DIFFERENCE EXACT: 12 14; $even DIFFERENCE LOOSE: 13 15);
        down!($c, $x, $w(3, 0); $odd SUM $last: 0 1);
        down!($c, $x, $w(3, 1); $odd DIFFERENCE $last: 2 3);
        down!($c, $x, $w(3, 2); $odd SUM $last: 4 5);
        down!($c, $x, $w(3, 3); $odd DIFFERENCE $last: 6 7);
        down!($c, $x, $w(3, 4); $odd SUM $last: 8 9);
        down!($c, $x, $w(3, 5); $odd DIFFERENCE $last: 10 11);
        down!($c, $x, $w(3, 6); $odd SUM $last: 12 13);
        down!($c, $x, $w(3, 7); $odd DIFFERENCE $last: 14 15);
    }};
}

/// The same stages in the opposite order; `$last` does the first stage's butterflies.
macro_rules! stages_up {
    (1, $in:ident, $last:ident, $roots:expr, $c:ident, $x:ident, $w:expr) => {{
        $last!($roots, $c, $x, $w(0, 0); $in: 0 1);
    }};
    (2, $in:ident, $last:ident, $roots:expr, $c:ident, $x:ident, $w:expr) => {{
        up!($roots, $c, $x, $w(1, 0); $in: 0 1);
        up!($roots, $c, $x, $w(1, 1); $in: 2 3);
        $last!($roots, $c, $x, $w(0, 0); EXACT: 0 2; LOOSE: 1 3);
    }};
    (3, $in:ident, $last:ident, $roots:expr, $c:ident, $x:ident, $w:expr) => {{
        up!($roots, $c, $x, $w(2, 0); $in: 0 1);
        up!($roots, $c, $x, $w(2, 1); $in: 2 3);
        up!($roots, $c, $x, $w(2, 2); $in: 4 5);
        up!($roots, $c, $x, $w(2, 3); $in: 6 7);
        up!($roots, $c, $x, $w(1, 0); EXACT: 0 2; LOOSE: 1 3);
        up!($roots, $c, $x, $w(1, 1); EXACT: 4 6; LOOSE: 5 7);
        $last!($roots, $c, $x, $w(0, 0); EXACT: 0 4, 1 5; LOOSE: 2 6, 3 7);
    }};
    (4, $in:ident, $last:ident, $roots:expr, $c:ident, $x:ident, $w:expr) => {{
        up!($roots, $c, $x, $w(3, 0); $in: 0 1);
        up!($roots, $c, $x, $w(3, 1); $in: 2 3);
        up!($roots, $c, $x, $w(3, 2); $in: 4 5);
        up!($roots, $c, $x, $w(3, 3); $in: 6 7);
        up!($roots, $c, $x, $w(3, 4); $in: 8 9);
        up!($roots, $c, $x, $w(3, 5); $in: 10 11);
        up!($roots, $c, $x, $w(3, 6); $in: 12 13);
        up!($roots, $c, $x, $w(3, 7); $in: 14 15);
        up!($roots, $c, $x, $w(2, 0); EXACT: 0 2; LOOSE: 1 3);
        up!($roots, $c, $x, $w(2, 1); EXACT: 4 6; LOOSE: 5 7);
        up!($roots, $c, $x, $w(2, 2); EXACT: 8 10; LOOSE: 9 11);
        up!($roots, $c, $x, $w(2, 3); EXACT: 12 14; LOOSE: 13 15);
        up!($roots, $c, $x, $w(1, 0); EXACT: 0 4, 1 5; LOOSE: 2 6, 3 7);
        up!($roots, $c, $x, $w(1, 1); EXACT: 8 12, 9 13; LOOSE: 10 14, 11 15);
        $last!($roots, $c, $x, $w(0, 0); EXACT: 0 8, 1 9, 2 10, 3 11; LOOSE: 4 12, 5 13, 6 14, 7 15);
    }};
}

pub(in crate::cpu) use {down, stages_down, stages_up, up, up_exact, up_last};
