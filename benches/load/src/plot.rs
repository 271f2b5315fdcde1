//! Bar charts in SVG: a bar for each server and case, its spread as a line, its value as text.

use std::fmt::Write;

use crate::figure::Spread;
use crate::report::show;

/// One bar.
pub(crate) struct Bar {
    /// Bars of the same group stand together under its name; empty for none.
    pub(crate) group: String,
    pub(crate) name: String,
    pub(crate) spread: Spread,
    /// Drawn in the colour of what this is about.
    pub(crate) ours: bool,
}

const WIDTH: f64 = 760.0;
/// Room for names at the left and for values at the right.
const LEFT: f64 = 150.0;
const RIGHT: f64 = 90.0;
const BAR: f64 = 16.0;
const STEP: f64 = 24.0;
const TOP: f64 = 44.0;

/// The whole picture. Bars start at zero.
pub(crate) fn bars(title: &str, unit: &str, bars: &[Bar]) -> String {
    let most = bars.iter().map(|bar| bar.spread.most).fold(0.0, f64::max);
    let scale = if most > 0.0 { (WIDTH - LEFT - RIGHT) / most } else { 0.0 };
    let mut body = String::new();
    let (mut y, mut group) = (TOP, "");
    for bar in bars {
        if bar.group != group {
            group = &bar.group;
            y += 6.0;
            let _ =
                writeln!(body, r#"<text x="8" y="{:.1}" class="group">{}</text>"#, y + 12.0, escaped(group));
            y += STEP - 4.0;
        }
        let Spread { least, median, most } = bar.spread;
        let (middle, class) = (y + BAR / 2.0, if bar.ours { "ours" } else { "other" });
        let name = escaped(&bar.name);
        let _ = writeln!(
            body,
            r#"<text x="{:.1}" y="{:.1}" text-anchor="end">{name}</text>"#,
            LEFT - 8.0,
            y + 12.0
        );
        let _ = writeln!(
            body,
            r#"<rect x="{LEFT}" y="{y:.1}" width="{:.1}" height="{BAR}" class="{class}"/>"#,
            median * scale
        );
        let _ = writeln!(
            body,
            r#"<line x1="{:.1}" y1="{middle:.1}" x2="{:.1}" y2="{middle:.1}"/>"#,
            LEFT + least * scale,
            LEFT + most * scale
        );
        let _ = writeln!(
            body,
            r#"<text x="{:.1}" y="{:.1}">{} {}</text>"#,
            LEFT + most * scale + 6.0,
            y + 12.0,
            show(median),
            escaped(unit)
        );
        y += STEP;
    }
    let height = y + 10.0;
    format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" role="img">
<style>
text {{ font: 12px sans-serif; fill: #333 }}
.title {{ font-weight: bold; font-size: 14px }}
.group {{ font-weight: bold }}
.ours {{ fill: #d9480f }}
.other {{ fill: #9aa5b1 }}
line {{ stroke: #222; stroke-width: 1.5 }}
</style>
<rect width="100%" height="100%" fill="#fff"/>
<text x="8" y="24" class="title">{}</text>
{body}</svg>
"##,
        escaped(title)
    )
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_bar_fills_the_width_and_text_is_escaped() {
        let bar = |name: &str, median| Bar {
            group: String::new(),
            name: name.to_owned(),
            spread: Spread { least: median, median, most: median },
            ours: true,
        };
        let svg = bars("a < b", "us", &[bar("x", 5.0), bar("y", 10.0)]);
        assert!(
            svg.contains("a &lt; b") && svg.contains("width=\"520.0\"") && svg.contains("width=\"260.0\"")
        );
        assert_eq!(svg.matches("<rect").count(), 3, "the ground and two bars");
        bars("nothing", "", &[]);
    }
}
