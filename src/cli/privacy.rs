//! `milepost privacy`.

use clap::Args;
use milepost::Privacy as Answer;

use super::Common;
use super::output::{DONE, print_json, print_line, thousands};

/// What precedes milepost's own events.
const OWN: &str = "Where events were lost, milepost says how many, once a day at most:";

#[derive(Args)]
pub(super) struct Privacy {
    /// For the product's own documentation: what holds everywhere, in Markdown
    #[arg(long, conflicts_with = "json")]
    markdown: bool,
}

impl Privacy {
    pub(super) fn run(&self, common: &Common) -> anyhow::Result<u8> {
        let answer = common.builder()?.admin()?.privacy();
        if common.json {
            print_json(&answer)?;
            return Ok(DONE);
        }
        let lines = if self.markdown { markdown(&answer) } else { plain(&answer) };
        lines.iter().try_for_each(|line| print_line(line))?;
        Ok(DONE)
    }
}

fn plain(answer: &Answer) -> Vec<String> {
    let mut lines = vec![format!("Every event of {} says:", answer.product)];
    lines.extend(answer.carried.iter().map(|what| format!("  {}", what.replace('`', ""))));
    lines.push(String::new());
    lines.push(taken(answer).into());
    for event in &answer.events {
        let keys: Vec<_> = event.keys.iter().map(String::as_str).collect();
        lines.push(format!("  {:<28} {}", event.name, said(event.once, &keys.join(", "))));
    }
    lines.extend([String::new(), OWN.into()]);
    for event in &answer.own {
        let keys: Vec<_> = event.keys.iter().map(String::as_str).collect();
        lines.push(format!("  {:<28} {}", event.name, keys.join(", ")));
    }
    lines.push(String::new());
    lines.push("A property is left out of its event, before anything is written, for:".into());
    for rule in &answer.guarded {
        let redacted = answer.redacted.get(rule.rule).copied().unwrap_or(0);
        let so_far = if redacted == 0 { String::new() } else { format!("; {} so far", thousands(redacted)) };
        lines.push(format!("  {:<28} {}{so_far}", rule.rule, rule.guards));
    }
    // Of a newer version of milepost.
    let known = |rule: &String| answer.guarded.iter().any(|known| known.rule == rule);
    for (rule, redacted) in answer.redacted.iter().filter(|(rule, _)| !known(rule)) {
        lines.push(format!("  {rule:<28} {} so far", thousands(*redacted)));
    }
    lines
}

fn markdown(answer: &Answer) -> Vec<String> {
    let mut lines = vec![format!("Every event of {} says:", answer.product), String::new()];
    lines.extend(answer.carried.iter().map(|what| format!("- {what}")));
    lines.extend([String::new(), taken(answer).into()]);
    if !answer.events.is_empty() {
        lines.extend(["", "| event | its keys |", "| --- | --- |"].map(String::from));
    }
    for event in &answer.events {
        let keys: Vec<_> = event.keys.iter().map(|key| format!("`{key}`")).collect();
        lines.push(format!("| `{}` | {} |", event.name, said(event.once, &keys.join(", "))));
    }
    lines.extend(["", OWN, "", "| event | its keys |", "| --- | --- |"].map(String::from));
    for event in &answer.own {
        let keys: Vec<_> = event.keys.iter().map(|key| format!("`{key}`")).collect();
        lines.push(format!("| `{}` | {} |", event.name, keys.join(", ")));
    }
    lines.push(String::new());
    lines.push("A property is left out of its event, before anything is written, for:".into());
    lines.extend(["", "| rule | what it keeps in |", "| --- | --- |"].map(String::from));
    lines.extend(answer.guarded.iter().map(|rule| format!("| `{}` | {} |", rule.rule, rule.guards)));
    lines
}

fn taken(answer: &Answer) -> &'static str {
    match (answer.takes_any, answer.events.is_empty()) {
        (true, true) => "It takes every event with every key.",
        (true, false) => "It takes every event with every key, and these milestones:",
        (false, _) => "No events but these are taken, with no keys but theirs:",
    }
}

fn said(once: bool, keys: &str) -> String {
    match (once, keys) {
        (true, "") => "none; once an installation".into(),
        (true, keys) => format!("{keys}; once an installation"),
        (false, "") => "none".into(),
        (false, keys) => keys.into(),
    }
}
