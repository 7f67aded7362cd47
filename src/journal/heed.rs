//! The writer and consent: what it does when somebody says no, when nobody knows, and when it slept for long.

use super::file::Journal;
use super::writer::Writer;
use crate::admission::Refusal;
use crate::clock;
use crate::consent::{Answer, State};
use crate::limits::{CONSENT_GAP, TURN_LOOK_EVERY};

/// What whoever waits for events is told that are gone.
const FORGOTTEN: &str = "somebody refused or had it forgotten, and what was there is gone";

impl Writer {
    /// Heeds what holds now. Before a journal is begun, and after a gap in which this process may have been stopped
    /// through a no and a yes, it is looked at closely. The installation's id is looked at before anything is taken
    /// out of the channel, and once a second: one that is idle is to know of another id before there is an event.
    pub(super) fn heed(&mut self) {
        let now = (clock::monotonic(), clock::wall_micros());
        let (then, wall_then) = std::mem::replace(&mut self.heeded_at, now);
        // A machine that slept shows on the wall clock alone.
        let slept = now.0.duration_since(then) >= CONSENT_GAP
            || now.1.abs_diff(wall_then) >= CONSENT_GAP.as_micros() as u64;
        let is_busy = !self.channel.receiver.is_empty();
        let begins = self.journal.is_none() && is_busy;
        let state = if slept || begins { self.watch.look_closely() } else { self.watch.look() };
        let is_due = now.0.duration_since(self.id_read_at) >= TURN_LOOK_EVERY;
        if slept || is_busy || is_due || state != self.state {
            self.id_read_at = now.0;
            if self.opener.has_another_id() {
                let journal = self.journal.take();
                self.begin_anew(journal);
            }
        }
        if state != self.state {
            self.change(state);
        }
    }

    fn change(&mut self, state: State) {
        let before = std::mem::replace(&mut self.state, state);
        if state.is_settling {
            return;
        }
        if state.is_refused {
            let journal = self.journal.take();
            self.begin_anew(journal);
        } else if !state.is_yes() || state.mode != before.mode {
            // What is in it was collected in order, and stays; its mode is in its origin.
            if let Some(journal) = self.journal.take() {
                self.let_go(journal, true);
            }
        }
        if state.is_yes() {
            if before.answer != Answer::Yes {
                self.failure = None;
                self.prepare();
            }
            self.channel.allow();
        } else {
            self.channel.refuse_all();
        }
    }

    /// Lets go of what belongs to an installation that is no more: the journal, which whoever said no deletes, and
    /// what stands in the channel.
    pub(super) fn begin_anew(&mut self, journal: Option<Journal>) {
        self.opener.begin_anew();
        if let Some(journal) = journal {
            // Whoever waits for something in it is not to be told that it is durable, nor is who will.
            self.sync.forget(&journal, FORGOTTEN);
            if self.is_unkept {
                self.failure = Some(FORGOTTEN.into());
            }
        }
        self.discard();
    }

    /// Discards what stands in the channel, counted; whoever waits for it is told.
    pub(super) fn discard(&mut self) {
        let mut discarded = 0;
        for event in self.channel.receiver.clone().try_iter().take(self.channel.receiver.len()) {
            self.channel.release(&event);
            discarded += 1;
        }
        if discarded > 0 {
            self.channel.counters.refuse(Refusal::Consent, discarded as u64);
            self.failure = Some(FORGOTTEN.into());
            self.keep_promise(discarded);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::sync::Arc;
    use std::sync::atomic::Ordering;
    use std::time::Duration;

    use crate::admission::Admission;
    use crate::block::{Class, Epoch, Origin};
    use crate::clock;
    use crate::consent::{Environment, Sources, Watch};
    use crate::event::Event;
    use crate::installation::{Installation, fs};
    use crate::journal::{
        Channel, Contents, Greeting, Reached, Stamp, SyncEvery, SyncThread, Writer, WriterSettings, oldest,
    };
    use crate::product::{Mode, Product};

    const LONG: Duration = Duration::from_secs(60);

    /// A writer at work in a directory of its own.
    struct World {
        directory: tempfile::TempDir,
        installation: Installation,
        channel: Arc<Channel>,
        sync: Arc<SyncThread>,
    }

    impl World {
        fn new() -> Self {
            let directory = tempfile::tempdir().unwrap();
            let product = Product::new("acme", "1").milestone("first_job");
            let installation = Installation::new(directory.path().join("telemetry"));
            let environment = Environment { variable: &|_| None, working_directory: None };
            let places = (Some(directory.path()), Some(installation.directory()));
            let sources = Sources::of(&product, &environment, places, (Mode::On, String::new()));
            let channel = Arc::new(Channel::new(1_000));
            let sync = Arc::new(SyncThread::new(SyncEvery::default(), crossbeam_channel::bounded(1).0));
            let settings = WriterSettings {
                installation: installation.clone(),
                admission: Admission::new(&product),
                milestones: Arc::new(Reached::new(product.milestones.clone())),
                greeting: Greeting::default(),
                free_disk_min: 0,
                known_device_id: |_| None,
                quota: product.quota,
                watch: Arc::new(Watch::new(sources)),
                origin: Arc::new(|device_id, mode| Origin { device_id, mode, ..Origin::sample() }),
            };
            Writer::spawn(settings, channel.clone(), sync.clone()).unwrap();
            Self { directory, installation, channel, sync }
        }

        fn send(&self, class: Class, name: &'static str) {
            let mut event = Event::new(name);
            Stamp::new(clock::wall_micros(), class).put(&mut event);
            self.channel.send(event).unwrap();
        }

        fn sync(&self) -> crate::Result<()> {
            self.sync.wait(self.channel.ticket(), clock::deadline(LONG))
        }

        /// Replaces the id, and waits until the writer lets go of what it has.
        fn replace_and_wait(&self) {
            let [(held, _)] = &self.journals()[..] else { panic!("one journal is needed") };
            self.installation.replace_device_id().unwrap().unwrap();
            wait_until("it is let go of", || !fs::is_locked(held).unwrap());
        }

        /// The journals, with the names of what is in each that was written under the id of today.
        fn journals(&self) -> Vec<(PathBuf, Vec<String>)> {
            let epoch = Epoch::of(&self.installation.device_id().unwrap().unwrap());
            let directory = self.installation.journals();
            let names = oldest(&directory, 100, |_| true).unwrap().into_iter();
            let read = names.map(|name| {
                let path = directory.join(name.to_string());
                let contents = Contents::open(&path).unwrap();
                let blocks = contents.blocks_with_ends().filter(|_| contents.header.epoch == epoch);
                let names = blocks.filter_map(|(block, _)| block.first_name()).collect();
                (path, names)
            });
            read.collect()
        }
    }

    impl Drop for World {
        fn drop(&mut self) {
            self.channel.close();
            self.sync.wait_for_end(clock::deadline(LONG)).unwrap();
            assert!(self.directory.path().exists());
        }
    }

    fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
        let deadline = clock::deadline(LONG);
        while !holds() {
            assert!(clock::monotonic() < deadline, "in vain: {what}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    #[test]
    fn what_stands_in_the_channel_when_the_id_is_replaced_goes_nowhere() {
        let world = World::new();
        world.send(Class::Bulk, "before");
        world.sync().unwrap();
        world.installation.replace_device_id().unwrap().unwrap();
        for class in [Class::Milestone, Class::Latest, Class::Bulk] {
            world.send(class, "first_job");
        }
        assert!(world.sync().unwrap_err().to_string().contains("gone"));
        world.send(Class::Bulk, "after");
        world.sync().unwrap();
        let written: Vec<_> = world.journals().into_iter().flat_map(|(_, names)| names).collect();
        assert_eq!(written, ["after"]);
    }

    #[test]
    fn one_that_is_idle_notices_another_id_and_calls_what_comes_then_durable() {
        let world = World::new();
        world.send(Class::Bulk, "before");
        world.sync().unwrap();
        world.replace_and_wait();
        world.send(Class::Bulk, "after");
        world.sync().unwrap();
        let written: Vec<_> = world.journals().into_iter().flat_map(|(_, names)| names).collect();
        assert_eq!(written, ["after"]);
    }

    #[test]
    fn what_nobody_was_told_to_be_durable_is_missed_when_the_id_is_replaced() {
        let world = World::new();
        world.send(Class::Bulk, "before");
        wait_until("it is written", || world.channel.counters.accepted.load(Ordering::Relaxed) > 0);
        world.replace_and_wait();
        assert!(world.sync().unwrap_err().to_string().contains("gone"));
        world.sync().unwrap();
    }
}
