//! Time by protocol as a picture: the paper's figure 2, seconds on a logarithmic axis.

use std::fmt::Write;

use super::{PROTOCOLS, Row};

const WIDTH: f64 = 900.0;
const HEIGHT: f64 = 460.0;
const LEFT: f64 = 70.0;
const TOP: f64 = 60.0;
const BOTTOM: f64 = 400.0;
const COLOURS: [&str; 4] = ["#30638e", "#d1495b", "#edae49", "#00798c"];

/// A group of bars for each protocol and for the total, a bar for each row; the paper's totals as lines.
pub(super) fn svg(rows: &[Row]) -> String {
    let groups: Vec<&str> = PROTOCOLS.into_iter().chain(["Total"]).collect();
    let value = |row: &Row, group: &str| row.by_protocol.get(group).copied().unwrap_or(row.seconds);
    let shown = rows.iter().flat_map(|r| groups.iter().map(|g| value(r, g)).chain([r.paper_seconds]));
    let positive: Vec<f64> = shown.filter(|s| *s > 0.0).collect();
    let low = positive.iter().copied().fold(f64::INFINITY, f64::min).max(1e-3).log10().floor();
    let high = positive.iter().copied().fold(1.0, f64::max).log10().ceil();
    let y = |seconds: f64| BOTTOM - (BOTTOM - TOP) * ((seconds.max(1e-9).log10() - low) / (high - low)).clamp(0.0, 1.0);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
    );
    // Writing to a string cannot fail.
    let mut line = |text: String| writeln!(out, "{text}").unwrap_or_default();
    let grid = rows.first().map_or(String::new(), |r| r.grid.map(|s| s.to_string()).join("x"));
    line(format!("<text x=\"{LEFT}\" y=\"22\" font-size=\"15\">Seconds by protocol, grid {grid}</text>"));
    for decade in low as i32..=high as i32 {
        let at = y(10f64.powi(decade));
        line(format!("<line x1=\"{LEFT}\" x2=\"{WIDTH}\" y1=\"{at:.1}\" y2=\"{at:.1}\" stroke=\"#ddd\"/>"));
        line(format!("<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">1e{decade}</text>", LEFT - 6.0, at + 4.0));
    }
    let group_width = (WIDTH - LEFT) / groups.len() as f64;
    let bar = 0.8 * group_width / rows.len().max(1) as f64;
    for (g, group) in groups.iter().enumerate() {
        let start = LEFT + group_width * (g as f64 + 0.1);
        for (i, row) in rows.iter().enumerate() {
            let (x, colour, seconds) = (start + bar * i as f64, COLOURS[i % COLOURS.len()], value(row, group));
            let (top, name) = (y(seconds), row.preset.name());
            line(format!(
                "<rect x=\"{x:.1}\" y=\"{top:.1}\" width=\"{:.1}\" height=\"{:.1}\" fill=\"{colour}\"><title>{name}: {seconds:.3} s</title></rect>",
                0.9 * bar,
                BOTTOM - top
            ));
            if *group == "Total" {
                let at = y(row.paper_seconds);
                line(format!(
                    "<line x1=\"{x:.1}\" x2=\"{:.1}\" y1=\"{at:.1}\" y2=\"{at:.1}\" stroke=\"{colour}\" stroke-width=\"3\"><title>paper: {} s</title></line>",
                    x + 0.9 * bar,
                    row.paper_seconds
                ));
            }
        }
        line(format!(
            "<text x=\"{:.1}\" y=\"{}\" text-anchor=\"middle\">{group}</text>",
            start + 0.4 * group_width,
            BOTTOM + 18.0
        ));
    }
    for (i, row) in rows.iter().enumerate() {
        let (x, colour) = (LEFT + 140.0 * i as f64, COLOURS[i % COLOURS.len()]);
        line(format!("<rect x=\"{x:.1}\" y=\"34\" width=\"12\" height=\"12\" fill=\"{colour}\"/>"));
        line(format!("<text x=\"{:.1}\" y=\"44\">{}</text>", x + 18.0, row.preset.name()));
    }
    line(format!(
        "<text x=\"{LEFT}\" y=\"{}\">Bars: this run. Lines over Total: the paper, full grid, one thread.</text>",
        BOTTOM + 44.0
    ));
    out.push_str("</svg>\n");
    out
}
