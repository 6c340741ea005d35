//! Line charts as SVG: two axes with units, lines with marks and a legend, readable on light and on dark backgrounds.
//!
//! Numbers in, text out. It knows nothing of what it draws.

use std::fmt::Write as _;

/// Size of a chart and of what surrounds its area, in pixels.
const WIDTH: f64 = 860.0;
const HEIGHT: f64 = 460.0;
const LEFT: f64 = 76.0;
const RIGHT: f64 = 190.0;
const TOP: f64 = 56.0;
const BOTTOM: f64 = 60.0;
/// Colours of lines on light and on dark ground; told apart by most who see few colours, and by marks and dashes besides.
const COLOURS: [(&str, &str); 9] = [
    ("#0b62c4", "#5aa9ff"),
    ("#c2410c", "#ff9d5c"),
    ("#15803d", "#5fd38a"),
    ("#a21caf", "#e58cf0"),
    ("#854d0e", "#e3b341"),
    ("#0e7490", "#56d4e6"),
    ("#b91c1c", "#ff7b72"),
    ("#4b5563", "#b1bac4"),
    ("#4338ca", "#a5a0ff"),
];
const DASHES: [&str; 3] = ["none", "7 4", "2 3"];

/// How numbers become distances.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// Evenly, from zero.
    Linear,
    /// Ten times is always as far.
    Log,
    /// Quantiles: each nine behind the point is as far as the one before it.
    Nines,
}

/// One axis.
#[derive(Clone, Copy, Debug)]
pub struct Axis {
    /// What it says, with the unit.
    pub label: &'static str,
    /// How numbers become distances.
    pub scale: Scale,
    /// How a number is written at its tick.
    pub tick: fn(f64) -> String,
}

/// One line: points with what they scatter.
#[derive(Clone, Debug)]
pub struct Line {
    /// Its name in the legend.
    pub name: String,
    /// Which colour, dash and mark it has, so that the same line looks the same in every chart.
    pub style: usize,
    /// Where it goes: x, y, and the least and most of y.
    pub points: Vec<(f64, f64, f64, f64)>,
}

/// One chart.
#[derive(Clone, Debug)]
pub struct Chart {
    /// What it shows.
    pub title: &'static str,
    /// How to read it.
    pub note: &'static str,
    /// The axis below.
    pub x: Axis,
    /// The axis at the left.
    pub y: Axis,
    /// What is drawn.
    pub lines: Vec<Line>,
}

/// The part of an axis that is shown, and its ticks.
struct Span {
    scale: Scale,
    low: f64,
    high: f64,
    ticks: Vec<f64>,
}

impl Span {
    /// That holds all of `values`.
    fn of(scale: Scale, values: impl Iterator<Item = f64> + Clone) -> Self {
        let most = values.clone().fold(f64::MIN, f64::max);
        let least = values.fold(f64::MAX, f64::min);
        match scale {
            Scale::Linear => {
                let step = step(most.max(1e-9));
                let count = (most / step).ceil().max(1.0);
                let ticks = (0..=count as usize).map(|tick| tick as f64 * step).collect();
                Self { scale, low: 0.0, high: count * step, ticks }
            }
            Scale::Log => {
                let (low, high) = (least.log10().floor(), most.log10().ceil());
                let high = if high > low { high } else { low + 1.0 };
                let ticks = (low as i32..=high as i32).map(|power| 10f64.powi(power)).collect();
                Self { scale, low, high, ticks }
            }
            Scale::Nines => {
                let ticks: Vec<f64> =
                    [0.5, 0.9, 0.99, 0.999, 0.9999].into_iter().filter(|tick| *tick <= most).collect();
                let (low, high) = (nines(least.min(0.5)), nines(most.max(0.9)));
                Self { scale, low, high, ticks }
            }
        }
    }

    /// How far along `value` is, from 0 to 1.
    fn share(&self, value: f64) -> f64 {
        let place = match self.scale {
            Scale::Linear => value,
            Scale::Log => value.log10(),
            Scale::Nines => nines(value),
        };
        ((place - self.low) / (self.high - self.low)).clamp(0.0, 1.0)
    }
}

fn nines(quantile: f64) -> f64 {
    -(1.0 - quantile).log10()
}

/// A round distance of ticks, about five of which reach `most`.
fn step(most: f64) -> f64 {
    let rough = most / 5.0;
    let power = 10f64.powf(rough.log10().floor());
    [1.0, 2.0, 2.5, 5.0, 10.0]
        .map(|round| round * power)
        .into_iter()
        .find(|round| *round >= rough)
        .unwrap_or(rough)
}

impl Chart {
    /// The chart as a file; `None` when there is nothing to draw.
    pub fn svg(&self) -> Option<String> {
        let drawable = |axis: Axis, value: f64| match axis.scale {
            Scale::Linear => value.is_finite() && value >= 0.0,
            Scale::Log => value.is_finite() && value > 0.0,
            Scale::Nines => (0.0..1.0).contains(&value),
        };
        let mut lines = self.lines.clone();
        for line in &mut lines {
            line.points.retain(|point| drawable(self.x, point.0) && drawable(self.y, point.1));
        }
        lines.retain(|line| !line.points.is_empty());
        let points = || lines.iter().flat_map(|line| line.points.iter());
        points().next()?;
        let x = Span::of(self.x.scale, points().map(|point| point.0));
        let y = Span::of(self.y.scale, points().map(|point| point.1));
        let mut svg = head(self.title, self.note);
        self.axes(&x, &y, &mut svg);
        for (at, line) in lines.iter().enumerate() {
            draw(at, line, &x, &y, &mut svg);
        }
        svg += "</svg>\n";
        Some(svg)
    }

    fn axes(&self, x: &Span, y: &Span, svg: &mut String) {
        let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
        for tick in &x.ticks {
            let at = across(x, *tick);
            let _ = writeln!(svg, "<path class=\"grid\" d=\"M{at:.1} {TOP}V{bottom}\"/>");
            let text = escaped(&(self.x.tick)(*tick));
            let _ = writeln!(
                svg,
                "<text class=\"tick\" x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{text}</text>",
                bottom + 18.0
            );
        }
        for tick in &y.ticks {
            let at = up(y, *tick);
            let _ = writeln!(svg, "<path class=\"grid\" d=\"M{LEFT} {at:.1}H{right}\"/>");
            let text = escaped(&(self.y.tick)(*tick));
            let _ = writeln!(
                svg,
                "<text class=\"tick\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{text}</text>",
                LEFT - 8.0,
                at + 4.0
            );
        }
        let _ = writeln!(svg, "<path class=\"axis\" d=\"M{LEFT} {TOP}V{bottom}H{right}\"/>");
        let middle = f64::midpoint(LEFT, right);
        let _ = writeln!(
            svg,
            "<text class=\"label\" x=\"{middle:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
            bottom + 42.0,
            escaped(self.x.label)
        );
        let height = f64::midpoint(TOP, bottom);
        let _ = writeln!(
            svg,
            "<text class=\"label\" transform=\"translate(18 {height:.1}) rotate(-90)\" text-anchor=\"middle\">{}</text>",
            escaped(self.y.label)
        );
    }
}

fn across(span: &Span, value: f64) -> f64 {
    LEFT + span.share(value) * (WIDTH - RIGHT - LEFT)
}

fn up(span: &Span, value: f64) -> f64 {
    HEIGHT - BOTTOM - span.share(value) * (HEIGHT - BOTTOM - TOP)
}

fn head(title: &str, note: &str) -> String {
    let mut style = String::from(
        "text{font-family:system-ui,sans-serif;fill:#1f2328}.ground{fill:#ffffff}.title{font-size:16px;font-weight:600}\
         .note,.tick,.name{font-size:12px}.label{font-size:13px}.grid{stroke:#d1d9e0;stroke-width:1}\
         .axis{stroke:#59636e;stroke-width:1.5;fill:none}.line{fill:none;stroke-width:2}.scatter{stroke-width:1;opacity:.55}",
    );
    for (at, (light, _)) in COLOURS.iter().enumerate() {
        let _ = write!(style, ".s{at}{{stroke:{light}}}.f{at}{{fill:{light};stroke:{light}}}");
    }
    style += "@media(prefers-color-scheme:dark){text{fill:#e6edf3}.ground{fill:#0d1117}.grid{stroke:#30363d}.axis{stroke:#9198a1}";
    for (at, (_, dark)) in COLOURS.iter().enumerate() {
        let _ = write!(style, ".s{at}{{stroke:{dark}}}.f{at}{{fill:{dark};stroke:{dark}}}");
    }
    style += "}";
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" width=\"{WIDTH}\" height=\"{HEIGHT}\" role=\"img\">\n\
         <title>{title}</title>\n<style>{style}</style>\n<rect class=\"ground\" width=\"{WIDTH}\" height=\"{HEIGHT}\"/>\n\
         <text class=\"title\" x=\"{LEFT}\" y=\"22\">{title}</text>\n<text class=\"note\" x=\"{LEFT}\" y=\"41\">{note}</text>\n",
        title = escaped(title),
        note = escaped(note),
    )
}

fn draw(at: usize, line: &Line, x: &Span, y: &Span, svg: &mut String) {
    let style = line.style;
    let (colour, dash) = (style % COLOURS.len(), DASHES[style / COLOURS.len() % DASHES.len()]);
    let place = |point: &(f64, f64, f64, f64)| (across(x, point.0), up(y, point.1));
    let mut path = String::new();
    for (number, point) in line.points.iter().enumerate() {
        let (left, top) = place(point);
        let _ = write!(path, "{}{left:.1} {top:.1}", if number == 0 { "M" } else { "L" });
    }
    let _ = writeln!(svg, "<path class=\"line s{colour}\" stroke-dasharray=\"{dash}\" d=\"{path}\"/>");
    for point in &line.points {
        let (left, top) = place(point);
        let (low, high) = (up(y, point.2.max(f64::MIN_POSITIVE)), up(y, point.3.max(f64::MIN_POSITIVE)));
        if (low - high).abs() > 1.0 {
            let _ = writeln!(svg, "<path class=\"scatter s{colour}\" d=\"M{left:.1} {low:.1}V{high:.1}\"/>");
        }
        mark(style, left, top, svg);
    }
    let (left, top) = (WIDTH - RIGHT + 18.0, TOP + 12.0 + 22.0 * at as f64);
    let _ = writeln!(
        svg,
        "<path class=\"line s{colour}\" stroke-dasharray=\"{dash}\" d=\"M{left:.1} {top:.1}h26\"/>"
    );
    mark(style, left + 13.0, top, svg);
    let _ = writeln!(
        svg,
        "<text class=\"name\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
        left + 34.0,
        top + 4.0,
        escaped(&line.name)
    );
}

/// A mark of the style's own shape.
fn mark(style: usize, x: f64, y: f64, svg: &mut String) {
    let colour = style % COLOURS.len();
    let shape = match style % 4 {
        0 => format!("M{:.1} {y:.1}a4 4 0 1 0 8 0a4 4 0 1 0 -8 0", x - 4.0),
        1 => format!("M{:.1} {:.1}h7v7h-7z", x - 3.5, y - 3.5),
        2 => format!("M{x:.1} {:.1}l4.5 8h-9z", y - 5.0),
        _ => format!("M{x:.1} {:.1}l5 5l-5 5l-5 -5z", y - 5.0),
    };
    let _ = writeln!(svg, "<path class=\"f{colour}\" d=\"{shape}\"/>");
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(scale: Scale, points: &[(f64, f64)]) -> Chart {
        let axis = Axis { label: "bytes & more", scale, tick: |value| format!("{value}") };
        let points = points.iter().map(|&(x, y)| (x, y, y, y)).collect();
        Chart {
            title: "a < b",
            note: "",
            x: axis,
            y: axis,
            lines: vec![Line { name: "one".into(), style: 10, points }],
        }
    }

    #[test]
    fn spans_hold_their_values_and_have_round_ticks() {
        let linear = Span::of(Scale::Linear, [3.0, 47.0].into_iter());
        assert_eq!(linear.ticks, [0.0, 10.0, 20.0, 30.0, 40.0, 50.0]);
        let log = Span::of(Scale::Log, [2.0, 1500.0].into_iter());
        assert_eq!((log.ticks.first(), log.ticks.last()), (Some(&1.0), Some(&10_000.0)));
        assert!((log.share(100.0) - 0.5).abs() < 1e-9);
        let nines = Span::of(Scale::Nines, [0.5, 0.9999].into_iter());
        assert_eq!(nines.ticks.len(), 5);
        assert!(
            (nines.share(0.99) - nines.share(0.9) - (nines.share(0.999) - nines.share(0.99))).abs() < 1e-9
        );
    }

    #[test]
    fn a_chart_is_whole_and_escapes_what_it_says() {
        let svg = chart(Scale::Log, &[(1.0, 10.0), (100.0, 20.0)]).svg().expect("points");
        assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"));
        assert!(svg.contains("a &lt; b") && svg.contains("bytes &amp; more") && svg.contains(">one</text>"));
        assert!(svg.contains("prefers-color-scheme:dark") && !svg.contains("NaN"));
        for tag in ["text", "title", "style"] {
            let [opened, closed] =
                [format!("<{tag}"), format!("</{tag}>")].map(|word| svg.matches(&word).count());
            assert_eq!(opened, closed, "{tag}");
        }
    }

    #[test]
    fn what_a_scale_cannot_show_is_left_out() {
        assert!(chart(Scale::Log, &[(0.0, 1.0), (1.0, -1.0), (f64::NAN, 1.0)]).svg().is_none());
        assert!(chart(Scale::Nines, &[(1.0, 1.0)]).svg().is_none());
        assert!(chart(Scale::Linear, &[]).svg().is_none());
        let svg = chart(Scale::Log, &[(0.0, 1.0), (5.0, 5.0)]).svg().expect("one point");
        assert!(!svg.contains("NaN") && !svg.contains("inf"));
    }
}
