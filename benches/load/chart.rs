//! The chart that the README shows: processor time of a request beside nginx, as SVG for light and dark pages.

use std::fmt::Write as _;

use super::report::Report;
use super::stats::{Estimate, as_f64};

const WIDTH: f64 = 720.0;
/// Where the bars begin.
const LEFT: f64 = 230.0;
/// Kept free for the numbers behind the bars.
const RIGHT: f64 = 110.0;
const ROW: f64 = 28.0;
const TOP: f64 = 52.0;
const BAR: f64 = 16.0;

const STYLE: &str = "text{font:13px system-ui,sans-serif;fill:#1f2328}.s{font-size:12px;fill:#59636e}\
.f{fill:#2f6fdb}.o{fill:#a3abb5}.w{stroke:#1f2328;stroke-width:1.2}.l{stroke:#59636e;stroke-dasharray:3 3}\
@media(prefers-color-scheme:dark){text{fill:#e6edf3}.s{fill:#9198a1}.f{fill:#5b9bff}.o{fill:#6b737c}\
.w{stroke:#e6edf3}.l{stroke:#9198a1}}";

/// Draws all rows that have a name there, nginx first.
pub(crate) fn draw(report: &Report) -> String {
    let named = report.rows.iter().filter_map(|row| Some((row.bar.as_deref()?, row.value)));
    let mut bars: Vec<_> = [("nginx, return 200", Estimate::exactly(1.0))].into_iter().chain(named).collect();
    bars.sort_by(|one, other| one.1.median.total_cmp(&other.1.median));
    let most = bars.iter().map(|(_, value)| value.high).fold(1.0, f64::max);
    let scale = (WIDTH - LEFT - RIGHT) / most;
    let height = TOP + ROW * as_f64(bars.len() as u64) + 24.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH:.0} {height:.0}\" width=\"{WIDTH:.0}\" \
         height=\"{height:.0}\" role=\"img\"><title>CPU time of one request, nginx = 1</title><style>{STYLE}</style>\n\
         <text x=\"8\" y=\"20\">CPU time of one request, nginx answering 200 = 1 (less is better)</text>\n\
         <text class=\"s\" x=\"8\" y=\"38\">one core, 64 keep-alive connections, the same 12 headers; lines are 95 % intervals</text>\n"
    );
    for (at, (name, value)) in (0_u32..).zip(&bars) {
        bar(&mut svg, TOP + ROW * f64::from(at), name, *value, scale);
    }
    let (one, bottom) = (LEFT + scale, height - 22.0);
    // Writing to a string cannot fail.
    let _ = writeln!(svg, "<path class=\"l\" d=\"M{one:.1} {TOP:.0}V{bottom:.1}\"/>");
    let _ = writeln!(
        svg,
        "<text class=\"s\" x=\"8\" y=\"{:.0}\">{}</text>\n</svg>",
        height - 6.0,
        escaped(&report.machine.line())
    );
    svg
}

fn bar(svg: &mut String, top: f64, name: &str, value: Estimate, scale: f64) {
    let class = if name.starts_with("forepost") { "f" } else { "o" };
    let (text, length) = (top + BAR - 3.0, value.median * scale);
    let (low, high, middle) = (LEFT + value.low * scale, LEFT + value.high * scale, top + BAR / 2.0);
    let behind = high.max(LEFT + length) + 8.0;
    let _ = writeln!(svg, "<text x=\"8\" y=\"{text:.1}\">{}</text>", escaped(name));
    let _ = writeln!(
        svg,
        "<rect class=\"{class}\" x=\"{LEFT:.0}\" y=\"{top:.1}\" width=\"{length:.1}\" height=\"{BAR:.0}\" rx=\"2\"/>"
    );
    if !value.is_exact() {
        let _ = writeln!(svg, "<path class=\"w\" d=\"M{low:.1} {middle:.1}H{high:.1}\"/>");
    }
    let _ = writeln!(svg, "<text x=\"{behind:.1}\" y=\"{text:.1}\">{:.2}</text>", value.median);
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}
