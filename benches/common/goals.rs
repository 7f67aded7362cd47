//! Figures, each beside its bound or peer of the same run and beside what it has to reach.

use std::fmt;

/// What a figure has to reach.
#[derive(Clone, Copy)]
pub(crate) enum Goal {
    AtMost(f64),
    AtLeast(f64),
    /// It is only to be known.
    Known,
}

/// The lines of a table that is printed in the end, when criterion has said what it has to say.
#[derive(Default)]
pub(crate) struct Goals(Vec<String>);

impl Goals {
    /// A figure that counts by itself.
    pub(crate) fn value(&mut self, what: impl fmt::Display, value: f64, unit: &str, goal: Goal) {
        self.add(format!("{what:66}{:>12} {unit:9}{:29}", figure(value), ""), goal, value);
    }

    /// A figure that counts by its ratio to another one.
    pub(crate) fn ratio(&mut self, what: impl fmt::Display, value: f64, bound: f64, unit: &str, goal: Goal) {
        let ratio = value / bound;
        let (shown, bound) = (figure(value), figure(bound));
        self.add(format!("{what:66}{shown:>12} {unit:9}{bound:>12} {ratio:10.2} x    "), goal, ratio);
    }

    fn add(&mut self, line: String, goal: Goal, reached: f64) {
        let said = match goal {
            Goal::AtMost(most) if reached <= most => format!("met: at most {}", figure(most)),
            Goal::AtMost(most) => format!("MISSED: at most {}", figure(most)),
            Goal::AtLeast(least) if reached >= least => format!("met: at least {}", figure(least)),
            Goal::AtLeast(least) => format!("MISSED: at least {}", figure(least)),
            Goal::Known => String::new(),
        };
        let line = format!("{line}{said}");
        println!("{}", line.trim_end());
        self.0.push(line);
    }

    pub(crate) fn print(&self) {
        let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
        let load: String = load.split(' ').take(1).collect();
        let cores = std::thread::available_parallelism().map_or(0, usize::from);
        println!("\n{cores} cores, load {load} in the end\n");
        println!("{:66}{:>12} {:9}{:>12} {:>10}      goal", "", "figure", "", "beside", "ratio");
        self.0.iter().for_each(|line| println!("{}", line.trim_end()));
    }
}

/// Three digits that count, and thousands apart.
fn figure(value: f64) -> String {
    match value {
        _ if value.abs() >= 10_000.0 => {
            let digits = format!("{value:.0}");
            let groups: Vec<_> = digits.as_bytes().rchunks(3).rev().map(String::from_utf8_lossy).collect();
            groups.join(",")
        }
        _ if value.abs() >= 100.0 => format!("{value:.0}"),
        _ if value.abs() >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}
