//! The picture: requests a second, and below it the share of hosts that are done.

use std::io;

use crate::Row;
use crate::simulation::AWAY;
use crate::svg::{Axis, COLOURS, GRID, Svg};

const BEFORE_S: i64 = 300;
const AFTER_S: i64 = 1_500;

/// The first rows; the others would be on top of each other.
const LINES: usize = 4;

/// So many seconds are one point of a line, at the most of them.
const STEP_S: usize = 4;

pub(crate) fn draw(rows: &[Row]) -> io::Result<()> {
    let mut svg = Svg::new(900.0, 560.0);
    let time = Axis { values: (-BEFORE_S as f64, AFTER_S as f64), pixels: (70.0, 870.0), is_log: false };
    let load = Axis { values: (10.0, 100_000.0), pixels: (300.0, 40.0), is_log: true };
    let done = Axis { values: (0.0, 100.0), pixels: (510.0, 340.0), is_log: false };

    svg.text(
        (70.0, 20.0),
        "start",
        "100,000 hosts, a receiver that is back after an hour with room for 2,000 requests a second",
    );
    svg.text((70.0, 36.0), "start", "requests a second");
    for value in [10.0, 100.0, 1_000.0, 10_000.0, 100_000.0] {
        level(&mut svg, &time, load.at(value), &format!("{value}"));
    }
    svg.text((70.0, 334.0), "start", "hosts that are done");
    for value in [0.0, 25.0, 50.0, 75.0, 100.0] {
        level(&mut svg, &time, done.at(value), &format!("{value}%"));
    }
    for second in (-BEFORE_S..=AFTER_S).step_by(300) {
        svg.text((time.at(second as f64), 528.0), "middle", format!("{} min", second / 60));
    }
    let room = load.at(2_000.0);
    svg.line([(time.pixels.0, room), (time.pixels.1, room)], "#999999", 1.0);
    svg.text((time.pixels.1, room - 4.0), "end", "room");

    for (number, (name, outcome)) in rows.iter().take(LINES).enumerate().rev() {
        let colour = COLOURS[number];
        let first = AWAY.as_secs() as i64 - BEFORE_S;
        let seconds = &outcome.requests[first as usize..(first + BEFORE_S + AFTER_S) as usize];
        let points = seconds.chunks(STEP_S).enumerate().map(|(step, requests)| {
            let most = requests.iter().copied().max().unwrap_or_default();
            (time.at((step * STEP_S) as f64 - BEFORE_S as f64), load.at(f64::from(most)))
        });
        svg.line(points, colour, 1.2);
        let mut times = outcome.done.clone();
        times.sort_unstable();
        let points = (0..=AFTER_S as u64).step_by(10).map(|second| {
            let hosts = times.partition_point(|&time| time <= second * 1_000);
            (time.at(second as f64), done.at(hosts as f64 * 100.0 / times.len() as f64))
        });
        svg.line(points, colour, 2.0);
        let x = 70.0 + 200.0 * number as f64;
        svg.dot((x + 6.0, 546.0), 5.0, colour);
        svg.text((x + 16.0, 550.0), "start", name);
    }
    svg.write(concat!(env!("CARGO_MANIFEST_DIR"), "/benches/herd/herd.svg"))
}

fn level(svg: &mut Svg, time: &Axis, y: f64, label: &str) {
    svg.line([(time.pixels.0, y), (time.pixels.1, y)], GRID, 1.0);
    svg.text((time.pixels.0 - 6.0, y + 4.0), "end", label);
}
