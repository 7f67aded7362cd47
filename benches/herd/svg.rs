//! As much of SVG as the plots of the benches take.

use std::fmt::{Display, Write};
use std::path::Path;

/// Colours that stay apart for most eyes, by Okabe and Ito.
pub(crate) const COLOURS: [&str; 7] =
    ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#444444"];

pub(crate) const GRID: &str = "#dddddd";

pub(crate) struct Svg(String);

impl Svg {
    pub(crate) fn new(width: f64, height: f64) -> Self {
        Self(format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" \
             font-family=\"sans-serif\" font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
        ))
    }

    pub(crate) fn line(&mut self, points: impl IntoIterator<Item = (f64, f64)>, colour: &str, width: f64) {
        let points: Vec<String> = points.into_iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        let points = points.join(" ");
        self.put(format_args!(
            "<polyline fill=\"none\" stroke=\"{colour}\" stroke-width=\"{width}\" points=\"{points}\"/>"
        ));
    }

    pub(crate) fn dot(&mut self, (x, y): (f64, f64), radius: f64, colour: &str) {
        self.put(format_args!("<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{radius}\" fill=\"{colour}\"/>"));
    }

    /// `anchor` says which end of the text stands at the point: `start`, `middle` or `end`.
    pub(crate) fn text(&mut self, (x, y): (f64, f64), anchor: &str, text: impl Display) {
        let text = text.to_string().replace('&', "&amp;").replace('<', "&lt;");
        self.put(format_args!("<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{text}</text>"));
    }

    pub(crate) fn write(mut self, path: impl AsRef<Path>) -> std::io::Result<()> {
        self.0.push_str("</svg>\n");
        std::fs::write(path, self.0)
    }

    fn put(&mut self, element: std::fmt::Arguments) {
        writeln!(self.0, "{element}").expect("a string takes everything");
    }
}

/// From values to places: linear, or by powers of ten.
pub(crate) struct Axis {
    pub(crate) values: (f64, f64),
    pub(crate) pixels: (f64, f64),
    pub(crate) is_log: bool,
}

impl Axis {
    /// Values outside stand at the ends.
    pub(crate) fn at(&self, value: f64) -> f64 {
        let scale = |value: f64| if self.is_log { value.log10() } else { value };
        let (least, most) = self.values;
        let part = (scale(value.clamp(least, most)) - scale(least)) / (scale(most) - scale(least));
        self.pixels.0 + part * (self.pixels.1 - self.pixels.0)
    }
}
