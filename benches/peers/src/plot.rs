//! The picture: what a call costs, from its median to the slowest of a thousand.

use std::io;

use crate::child::Call;
use crate::svg::{Axis, COLOURS, GRID, Svg};
use crate::table::nanos;
use crate::trial::Row;

const ROW: f64 = 26.0;
const TOP: f64 = 64.0;

pub fn draw(rows: &[Row]) -> io::Result<()> {
    let bottom = TOP + ROW * rows.len() as f64;
    let mut svg = Svg::new(900.0, bottom + 30.0);
    let time = Axis { values: (10.0, 1e8), pixels: (160.0, 870.0), is_log: true };

    svg.text((20.0, 20.0), "start", "what handing over one event costs its caller: p50, p99 and p99.9");
    for (number, pace) in ["one event every 20 us", "back to back"].into_iter().enumerate() {
        let x = 160.0 + 180.0 * number as f64;
        svg.dot((x, 38.0), 4.0, COLOURS[number]);
        svg.text((x + 10.0, 42.0), "start", pace);
    }
    for power in 1..=8 {
        let value = 10u64.pow(power);
        let x = time.at(value as f64);
        svg.line([(x, TOP - 8.0), (x, bottom)], GRID, 1.0);
        svg.text((x, bottom + 18.0), "middle", nanos(value));
    }
    for (number, row) in rows.iter().enumerate() {
        let y = TOP + ROW * (number as f64 + 0.5);
        svg.text((150.0, y + 4.0), "end", row.kind.name);
        range(&mut svg, &time, &row.paced, y - 4.0, COLOURS[0]);
        range(&mut svg, &time, &row.bursts, y + 4.0, COLOURS[1]);
    }
    svg.write(concat!(env!("CARGO_MANIFEST_DIR"), "/peers.svg"))
}

fn range(svg: &mut Svg, time: &Axis, call: &Call, y: f64, colour: &str) {
    let points = [call.p50, call.p99, call.p999].map(|nanos| (time.at(nanos as f64), y));
    svg.line(points, colour, 2.0);
    for (point, radius) in points.into_iter().zip([4.0, 2.5, 2.5]) {
        svg.dot(point, radius, colour);
    }
}
