//! How things stand, for a person or a script. Needs no lock and disturbs nobody.

use std::collections::BTreeMap;

use serde::Serialize;

use super::census::Census;
use super::lock;
use super::settings::Settings;
use crate::admission::Refusal;
use crate::clock;
use crate::installation::{Installation, fs};
use crate::journal::obstacle;
use crate::spool::{Account, DEFAULT, DropReason, Exports, JOURNALS, LOCAL, LastWord};

/// How an installation stands. As JSON it is what `milepost status --json` prints.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct Status {
    /// Whether events of this process would be collected.
    pub collecting: bool,
    /// `yes`, `no`, or `unknown` where a source cannot be read or makes no sense: then nothing is collected, and
    /// nothing deleted.
    pub consent: &'static str,
    /// Why, or by whose word not; or that the directory cannot be written, whatever was said.
    pub reason: String,
    /// `on`, `local` or `off`.
    pub mode: &'static str,
    /// The installation's id, if it has one.
    pub device_id: Option<String>,
    /// The telemetry directory; empty where there is no place for one.
    pub directory: String,
    /// Events that ever reached the disk.
    pub accepted: u64,
    /// Events that receivers took.
    pub delivered: u64,
    /// What waits.
    pub waiting: Waiting,
    /// Accepted events that will never be delivered, by reason.
    pub dropped: BTreeMap<DropReason, u64>,
    /// Events that never reached the disk, by reason.
    pub refused: BTreeMap<Refusal, u64>,
    /// Properties that were left out, by rule: `undeclared`, or one of the privacy guard's.
    pub redacted: BTreeMap<String, u64>,
    /// Places on disk where bytes were damaged, a tail torn by a kill among them.
    pub damaged: u64,
    /// Times that the disk did not make something durable that it was asked to.
    pub failed_syncs: u64,
    /// Events that a receiver refused for good.
    pub dead: u64,
    /// Who holds the spool.
    pub owner: Option<OwnerStatus>,
    /// How each destination stands.
    pub destinations: Vec<DestinationStatus>,
    /// What the telemetry directory takes on the disk.
    pub disk_bytes: u64,
    /// What stands in the way: a ledger that cannot be read, a disk without room, a quota that is used up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
}

/// Events that wait, in journals and in the store.
#[derive(Debug, Clone, Default, Serialize)]
#[non_exhaustive]
pub struct Waiting {
    /// How many.
    pub events: u64,
    /// How many of them are on bundles: they wait for a receipt, and are not sent from here.
    pub exported: u64,
    /// Bytes of their blocks.
    pub bytes: u64,
    /// When the oldest was enqueued, RFC 3339.
    pub oldest: Option<String>,
    /// Journals of a newer version of milepost. They wait for it; how many events they hold is not known here.
    pub unreadable_journals: u64,
}

/// The process that holds the spool.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct OwnerStatus {
    /// Its process id, as far as its pid namespace is ours. `None` where one that ended left its lock to the child
    /// of a fork.
    pub pid: Option<u32>,
    /// Since when the lock is held without a sign of life, RFC 3339, where that is over two minutes: it is stopped,
    /// or the child of a fork keeps the lock of its parent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub silent_since: Option<String>,
}

/// How a destination stands. Times are RFC 3339.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct DestinationStatus {
    /// Its name. `local` are events that stay on this host; `journals`, of a product with several destinations, those
    /// of which it is not yet seen to whom they go.
    pub name: String,
    /// Whether the product has it. What waits for another one is kept until the quota's age, or until a person deals
    /// with it by `milepost purge`.
    pub in_product: bool,
    /// Events that it was to get.
    pub accepted: u64,
    /// Events that wait for it.
    pub waiting: u64,
    /// Events that it took.
    pub delivered: u64,
    /// Events that it refused for good.
    pub dead: u64,
    /// Events that it will never get, by reason.
    pub dropped: BTreeMap<DropReason, u64>,
    /// When it last took any.
    pub last_delivery: Option<String>,
    /// What it last said against it.
    pub last_error: Option<String>,
    /// When it is tried again.
    pub next_try: Option<String>,
    /// Why it is held, and what to do.
    pub held: Option<String>,
}

impl Status {
    pub(super) fn read(settings: &Settings) -> Self {
        let census = settings.installation.as_ref().map(Census::take).unwrap_or_default();
        let total = census.books.total();
        let ledger = census.ledger.as_ref();
        let oldest = [census.journals.oldest, ledger.and_then(|ledger| ledger.store_oldest)];
        let installation = settings.installation.as_ref();
        let consent = settings.watch.consent();
        let exported = installation.map_or(0, |found| Exports::read(&found.exports()).waiting_events());
        let unwritable = installation.filter(|_| consent.is_yes()).and_then(Installation::objection);
        Self {
            collecting: consent.is_yes() && unwritable.is_none(),
            consent: consent.answer.as_str(),
            reason: unwritable.unwrap_or(consent.reason),
            mode: consent.mode.as_str(),
            device_id: installation.and_then(|installation| installation.device_id().ok().flatten()),
            directory: installation
                .map(|installation| installation.directory().display().to_string())
                .unwrap_or_default(),
            accepted: total.accepted,
            delivered: total.delivered,
            waiting: Waiting {
                events: total.waiting(),
                // What the quota took meanwhile is on a bundle still, and waits no more.
                exported: exported.min(total.waiting()),
                bytes: census.journals.bytes + ledger.map_or(0, |ledger| ledger.store_bytes),
                oldest: oldest.into_iter().flatten().min().map(clock::rfc3339),
                unreadable_journals: census.unreadable,
            },
            dropped: total.dropped,
            refused: census.books.refused.clone(),
            redacted: census.books.redacted(),
            damaged: census.books.damaged,
            failed_syncs: census.books.failed_syncs,
            dead: total.dead,
            owner: installation.and_then(|installation| owner(installation, &census)),
            destinations: destinations(settings.ways.routing.names(), &census),
            disk_bytes: installation.map_or(0, |installation| fs::disk_bytes(installation.directory())),
            trouble: trouble(settings, census.trouble),
        }
    }
}

/// How each destination stands: those of the product, and others that anything is known of.
fn destinations(names: &[String], census: &Census) -> Vec<DestinationStatus> {
    let mut accounts = census.books.accounts.clone();
    // What stands in journals is the only destination's, or nobody knows yet whose.
    if let Some(default) = accounts.get_mut(DEFAULT).filter(|_| census.unassigned > 0) {
        default.accepted = default.accepted.saturating_sub(census.unassigned);
        let whose = if let [name] = names { name } else { JOURNALS };
        accounts.entry(whose.into()).or_default().accepted += census.unassigned;
    }
    // One that was never anybody's has what was lost before it was known whose that is.
    let is_bare = |account: &Account| account.waiting() + account.delivered + account.dead == 0;
    let is_of_product = |name: &String| names.contains(name);
    let others = accounts.iter().filter(|(name, account)| !is_of_product(name) && !is_bare(account));
    let several = names.len() > 1;
    let own = names.iter().filter(|name| several || accounts.contains_key(*name));
    own.chain(others.map(|(name, _)| name))
        .map(|name| {
            let account = accounts.get(name).cloned().unwrap_or_default();
            let is_known = is_of_product(name) || [LOCAL, JOURNALS].contains(&name.as_str());
            DestinationStatus::new(name, is_known, account, census.word(name))
        })
        .collect()
}

impl DestinationStatus {
    fn new(name: &str, in_product: bool, account: Account, word: LastWord) -> Self {
        Self {
            name: name.to_owned(),
            in_product,
            accepted: account.accepted,
            waiting: account.waiting(),
            delivered: account.delivered,
            dead: account.dead,
            dropped: account.dropped,
            last_delivery: word.delivery.map(clock::rfc3339),
            last_error: word.error,
            next_try: word.next_try.map(clock::rfc3339),
            held: word.held,
        }
    }
}

/// Everything that stands in the way.
fn trouble(settings: &Settings, known: Option<String>) -> Option<String> {
    let installation = settings.installation.as_ref().filter(|_| settings.watch.state().is_yes());
    let product = &settings.product;
    let obstacle = installation.and_then(|found| obstacle(found, product.free_disk_min, product.quota));
    let all: Vec<_> = known.into_iter().chain(obstacle).collect();
    (!all.is_empty()).then(|| all.join("; "))
}

/// Whoever the ledger names, if the lock is held: a name in a file is no proof of life, and neither is a lock.
fn owner(installation: &Installation, census: &Census) -> Option<OwnerStatus> {
    if !fs::is_locked(&installation.owner_lock()).unwrap_or(false) {
        return None;
    }
    let pid = census.ledger.as_ref().and_then(|ledger| ledger.owner.as_ref()).map(|owner| owner.pid);
    let silent_since = lock::silent_since(installation).map(|at| clock::rfc3339(clock::micros(at)));
    // One that just took the lock has not written its name yet.
    (pid.is_some() || silent_since.is_some()).then_some(OwnerStatus { pid, silent_since })
}
