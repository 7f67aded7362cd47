//! What a product declares, what the guard keeps in, and what it kept in so far.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::census::Census;
use super::settings::Settings;
use crate::admission::{ROWS, Rule};
use crate::product::{Declared, Product};
use crate::spool::{LOSSES, losses_keys};

/// What may leave this machine, and what never does. As JSON it is what `milepost privacy --json` prints.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct Privacy {
    /// The product's name.
    pub product: String,
    /// What every event says beside its own properties.
    pub carried: Vec<String>,
    /// Whether the product takes every event with every key: it then declares none.
    pub takes_any: bool,
    /// The events that it declares, milestones first, then those of integrations.
    pub events: Vec<DeclaredEvent>,
    /// What milepost itself tells, where there is something to tell: counts, never a word of the product's.
    pub own: Vec<DeclaredEvent>,
    /// The rules by which a property is left out of its event.
    pub guarded: Vec<GuardRule>,
    /// How many properties were left out in this installation so far, by rule.
    pub redacted: BTreeMap<String, u64>,
}

/// An event that a product declares.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct DeclaredEvent {
    /// Its name; `<integration>:<event>` for those of integrations that declare nothing themselves.
    pub name: String,
    /// The keys that it may carry.
    pub keys: BTreeSet<String>,
    /// Whether it is a milestone, which is sent once an installation.
    pub once: bool,
}

/// A rule by which a property is left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct GuardRule {
    /// Its word, as counters have it.
    pub rule: &'static str,
    /// What it keeps in.
    pub guards: &'static str,
}

impl Privacy {
    pub(super) fn read(settings: &Settings) -> Self {
        let census = settings.installation.as_ref().map(Census::take).unwrap_or_default();
        let product = &settings.product;
        Self {
            product: product.name.clone(),
            carried: carried(product),
            takes_any: product.declared == Declared::Any,
            events: events(product),
            own: vec![DeclaredEvent { name: LOSSES.into(), keys: losses_keys().collect(), once: false }],
            guarded: guarded(),
            redacted: census.books.redacted(),
        }
    }
}

fn carried(product: &Product) -> Vec<String> {
    let mut carried = vec![
        "a random id of the installation, which names nobody".into(),
        format!("the product and its version: `{}`", product.name),
    ];
    if !product.runtime.is_empty() {
        carried.push(format!("the runtime and its version: `{}`", product.runtime));
    }
    carried.push("the platform and the architecture, as `uname` says them".into());
    carried.push("its own name, its time, an id by which a repeat is known, and where it was written: a random id, and its number".into());
    carried
}

fn events(product: &Product) -> Vec<DeclaredEvent> {
    let none = BTreeSet::new();
    let event = |name: &str, keys: &BTreeSet<String>, once| DeclaredEvent {
        name: name.to_owned(),
        keys: keys.clone(),
        once,
    };
    let mut all: Vec<_> = product.milestones.iter().map(|name| event(name, &none, true)).collect();
    if let Declared::Only { events, integrations } = &product.declared {
        let own = events.iter().filter(|(name, _)| !product.milestones.contains(*name));
        all.extend(own.map(|(name, keys)| event(name, keys, false)));
        let declared = integrations.keys.iter();
        all.extend(declared.map(|(name, keys)| event(&format!("{name}:<event>"), keys, false)));
        all.extend(integrations.others.iter().map(|keys| event("<integration>:<event>", keys, false)));
    }
    all
}

fn guarded() -> Vec<GuardRule> {
    let undeclared = GuardRule {
        rule: Rule::Undeclared.as_str(),
        guards: "keys that the product does not declare, whatever their value",
    };
    let rows = ROWS.iter().map(|row| GuardRule { rule: row.rule.as_str(), guards: row.guards });
    [undeclared].into_iter().chain(rows).collect()
}
