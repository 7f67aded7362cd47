//! Looks after what was decided, as long as a process runs.
//!
//! Nothing here has a thread: who has one looks now and then, at the price of a `stat` for each file every few
//! seconds. Others write these files in place, and an empty file is valid TOML, so a change counts only when two
//! readings a second apart on the monotonic clock meet the same file.

use std::path::Path;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::Instant;

use crossbeam_channel::{Receiver, Sender, bounded};

use super::facts::Sources;
use super::file::Stamp;
use super::state::State;
use super::{Answer, Consent};
use crate::clock;
use crate::limits::{CONSENT_LOOK_EVERY, CONSENT_UNSETTLED_MAX, SETTLED_AFTER};

/// What holds for this process and for the installation.
pub(crate) struct Watch {
    sources: Sources,
    /// The [`State`], for whoever asks often.
    state: AtomicU8,
    said: Mutex<Said>,
    looking: Mutex<Looking>,
    /// Tells that another state holds.
    changes: (Sender<()>, Receiver<()>),
}

struct Said {
    consent: Consent,
    is_settling: bool,
    /// Why this process says no whatever the files say.
    objection: Option<String>,
}

struct Looking {
    /// The files as they were when they were last read, if they had settled.
    settled: Option<Vec<Stamp>>,
    /// The files as they were first seen to be other than that, and when.
    pending: Option<(Vec<Stamp>, Instant)>,
    /// Since when they have been changing.
    changing_since: Option<Instant>,
    next: Instant,
}

impl Said {
    fn state(&self) -> State {
        let mut consent = self.consent.clone();
        if let Some(objection) = &self.objection {
            consent.object(objection);
        }
        State {
            answer: consent.answer,
            is_settling: self.is_settling && consent.answer == Answer::Unknown,
            is_refused: consent.installation == Answer::No,
            mode: consent.mode,
        }
    }
}

impl Watch {
    /// Reads every file once. What was changed within the last second is unknown until it has settled.
    pub(crate) fn new(sources: Sources) -> Self {
        let now = clock::monotonic();
        let stamps = sources.stamps();
        let fresh: Vec<&Path> = sources
            .files()
            .zip(&stamps)
            .filter(|(_, stamp)| stamp.is_fresh())
            .map(|(path, _)| path)
            .collect();
        let mut consent = sources.read(|path| fresh.contains(&path)).decide();
        let again = sources.stamps();
        let is_settled = fresh.is_empty() && again == stamps;
        if !is_settled && fresh.is_empty() {
            consent = sources.read(|_| true).decide();
        }
        let looking = Looking {
            settled: is_settled.then_some(stamps),
            pending: (!is_settled).then_some((again, now)),
            changing_since: (!is_settled).then_some(now),
            next: now + if is_settled { CONSENT_LOOK_EVERY } else { SETTLED_AFTER },
        };
        let said = Said { consent, is_settling: !is_settled, objection: None };
        let state = AtomicU8::new(said.state().to_byte());
        Self { sources, state, said: Mutex::new(said), looking: Mutex::new(looking), changes: bounded(1) }
    }

    pub(crate) fn sources(&self) -> &Sources {
        &self.sources
    }

    /// Has something whenever another state came to hold, for one thread that waits for it.
    pub(crate) fn changes(&self) -> &Receiver<()> {
        &self.changes.1
    }

    /// What holds: one load.
    pub(crate) fn state(&self) -> State {
        State::from_byte(self.state.load(Ordering::Relaxed))
    }

    /// The same, with the reason.
    pub(crate) fn consent(&self) -> Consent {
        let said = self.said();
        let mut consent = said.consent.clone();
        if let Some(objection) = &said.objection {
            consent.object(objection);
        }
        consent
    }

    /// Looks at the files if it is time to, and says what holds. Whoever finds somebody else looking takes what
    /// held before.
    pub(crate) fn look(&self) -> State {
        self.look_at(false);
        self.state()
    }

    /// Looks at the files now, for who begins anew or does not know how long it slept: where one is not what it
    /// was, nobody knows what holds until it has settled.
    pub(crate) fn look_closely(&self) -> State {
        self.look_at(true);
        self.state()
    }

    /// Whether every file is as it was when it was last read. What was noted before this is of that time.
    pub(crate) fn is_as_read(&self) -> bool {
        let looking = self.looking.lock().unwrap_or_else(PoisonError::into_inner);
        looking.settled.as_ref().is_some_and(|stamps| *stamps == self.sources.stamps())
    }

    /// Reads the files again at once, for who has just replaced one of them as a whole.
    pub(crate) fn read_again(&self) -> State {
        let mut looking = self.looking.lock().unwrap_or_else(PoisonError::into_inner);
        self.settle(&mut looking, clock::monotonic());
        self.state()
    }

    /// Waits until what was changed a moment ago has settled. For commands, which may wait.
    pub(crate) fn wait_until_settled(&self) -> State {
        let deadline = clock::monotonic() + 2 * CONSENT_UNSETTLED_MAX;
        while self.state().is_settling && clock::monotonic() < deadline {
            std::thread::sleep(clock::wait(SETTLED_AFTER / 10));
            self.look();
        }
        self.state()
    }

    /// Says no for this process from now on, whatever the files say.
    pub(crate) fn object(&self, reason: impl Into<String>) {
        self.say(|said| {
            said.objection.get_or_insert(reason.into());
        });
    }

    /// Takes an objection back.
    pub(crate) fn object_no_more(&self) {
        self.say(|said| said.objection = None);
    }

    fn look_at(&self, closely: bool) {
        let now = clock::monotonic();
        let mut looking = match self.looking.try_lock() {
            Ok(looking) => looking,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return,
        };
        if !closely && now < looking.next {
            return;
        }
        let stamps = self.sources.stamps();
        if looking.settled.as_ref() == Some(&stamps) {
            let was_changing = looking.changing_since.take().is_some();
            (looking.pending, looking.next) = (None, now + CONSENT_LOOK_EVERY);
            if was_changing && self.state().is_settling {
                self.settle(&mut looking, now);
            }
            return;
        }
        let since = *looking.changing_since.get_or_insert(now);
        match &looking.pending {
            Some((seen, at)) if *seen == stamps && now.duration_since(*at) >= SETTLED_AFTER => {
                return self.settle(&mut looking, now);
            }
            Some((seen, at)) if *seen == stamps => looking.next = *at + SETTLED_AFTER,
            _ => {
                looking.pending = Some((stamps, now));
                looking.next = now + SETTLED_AFTER;
            }
        }
        if closely || now.duration_since(since) >= CONSENT_UNSETTLED_MAX {
            let consent = self.sources.read(|_| true).decide();
            self.say(|said| (said.consent, said.is_settling) = (consent, true));
        }
    }

    /// Reads the files and decides, unless one changes meanwhile.
    fn settle(&self, looking: &mut Looking, now: Instant) {
        let before = self.sources.stamps();
        let consent = self.sources.read(|_| false).decide();
        let after = self.sources.stamps();
        if before != after {
            (looking.pending, looking.next) = (Some((after, now)), now + SETTLED_AFTER);
            return;
        }
        *looking = Looking {
            settled: Some(after),
            pending: None,
            changing_since: None,
            next: now + CONSENT_LOOK_EVERY,
        };
        let before = self.said().consent.clone();
        if before.answer != consent.answer {
            log::info!("collecting: {} ({})", consent.answer.as_str(), consent.reason);
        }
        self.say(|said| (said.consent, said.is_settling) = (consent, false));
    }

    fn say(&self, change: impl FnOnce(&mut Said)) {
        let mut said = self.said();
        change(&mut said);
        let byte = said.state().to_byte();
        if self.state.swap(byte, Ordering::Relaxed) != byte {
            // One word that is not yet heard is enough.
            let _ = self.changes.0.try_send(());
        }
    }

    fn said(&self) -> MutexGuard<'_, Said> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::time::Duration;

    use super::*;
    use crate::Product;
    use crate::consent::Environment;
    use crate::product::Mode;

    struct Place(tempfile::TempDir);

    impl Place {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        fn profiles(&self) -> PathBuf {
            self.0.path().join("profiles.toml")
        }

        fn watch(&self) -> Watch {
            let environment =
                Environment { variable: &|_| None, working_directory: Some(self.0.path().join("here")) };
            let directory = self.0.path().join(".sdk_telemetry");
            Watch::new(Sources::of(
                &Product::prefect("3.8.8"),
                &environment,
                (Some(self.0.path()), Some(&directory)),
                (Mode::On, String::new()),
            ))
        }

        /// As somebody wrote it some time ago.
        fn write_long_ago(&self, text: &str) {
            std::fs::write(self.profiles(), text).unwrap();
            // The time of the last change of any kind cannot be set: it is waited for.
            std::thread::sleep(SETTLED_AFTER);
        }
    }

    const NO: &str = "active = \"a\"\n[profiles.a]\nPREFECT_SERVER_ANALYTICS_ENABLED = \"false\"\n";

    fn wait_for(watch: &Watch, answer: Answer) {
        let deadline = clock::monotonic() + Duration::from_secs(60);
        while watch.look().answer != answer {
            assert!(clock::monotonic() < deadline, "{:?}", watch.consent());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    #[test]
    fn what_rested_counts_at_once_and_what_was_just_written_when_it_has_settled() {
        let place = Place::new();
        assert!(place.watch().state().is_yes());
        std::fs::write(place.profiles(), NO).unwrap();
        let watch = place.watch();
        let state = watch.state();
        assert!(state.answer == Answer::Unknown && state.is_settling && !state.is_refused, "{state:?}");
        assert!(watch.consent().reason.contains("a moment ago"));
        let state = watch.wait_until_settled();
        assert!(state.answer == Answer::No && state.is_refused, "{state:?}");
        assert!(place.watch().state().is_refused);
    }

    /// The file is cut at each byte while it is watched: it was yes, it stays yes or unknown until it says no.
    #[test]
    fn a_file_that_is_written_in_place_is_never_taken_for_less_than_it_will_say() {
        let place = Place::new();
        place.write_long_ago(NO);
        let watch = place.watch();
        assert!(watch.state().is_refused);
        let began = clock::monotonic();
        for length in (0..=NO.len()).cycle().take(3 * NO.len()) {
            std::fs::write(place.profiles(), &NO[..length]).unwrap();
            for state in [watch.look(), watch.look_closely(), place.watch().state()] {
                assert!(state.answer != Answer::Yes, "cut at {length}: {:?}", watch.consent());
                assert!(!state.is_refused || state.answer == Answer::No);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        assert!(began.elapsed() > SETTLED_AFTER);
        std::fs::write(place.profiles(), NO).unwrap();
        wait_for(&watch, Answer::No);
    }

    #[test]
    fn a_change_counts_once_it_has_settled_both_ways() {
        let place = Place::new();
        let watch = place.watch();
        std::fs::write(place.profiles(), NO).unwrap();
        assert!(watch.look().is_yes(), "nobody looked yet");
        assert_eq!(watch.look_closely().answer, Answer::Unknown);
        wait_for(&watch, Answer::No);
        assert!(watch.is_as_read());
        std::fs::remove_file(place.profiles()).unwrap();
        assert!(!watch.is_as_read());
        wait_for(&watch, Answer::Yes);
        watch.object("somebody else");
        assert_eq!(watch.state().answer, Answer::No);
        assert!(!watch.state().is_refused);
        assert_eq!(watch.consent().reason, "somebody else");
        watch.object_no_more();
        assert!(watch.state().is_yes());
    }

    #[test]
    fn a_file_that_never_rests_is_unknown() {
        let place = Place::new();
        let watch = place.watch();
        let mut number = 0;
        let deadline = clock::monotonic() + Duration::from_secs(60);
        while watch.look().is_yes() {
            number += 1;
            std::fs::write(place.profiles(), format!("number = {number}")).unwrap();
            assert!(clock::monotonic() < deadline);
            std::thread::sleep(Duration::from_millis(100));
        }
        assert_eq!(watch.state().answer, Answer::Unknown);
        wait_for(&watch, Answer::Yes);
    }
}
