//! The heartbeat's timer.

use std::convert::Infallible;
use std::fmt;
use std::mem;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded, select};

use super::{Client, forked};
use crate::admission::Refusal;
use crate::block::Class;
use crate::clock;
use crate::error::{Error, ErrorKind, Result};
use crate::event::Event;
use crate::journal::{Channel, Stamp};
use crate::process::{self, Process};
use crate::product::{HEARTBEAT, ServerInfo};

/// Keeps a server's heartbeat going; dropped, it ends. Dropping waits for nothing.
#[must_use = "the heartbeat ends when this is dropped"]
pub struct Heartbeat {
    /// Nothing is ever sent: that it is gone is what the thread hears.
    stop: Option<Sender<Infallible>>,
    process: Process,
}

/// What ends every heartbeat of a client together with it.
pub(super) struct Life(Mutex<Option<(Sender<Infallible>, Receiver<Infallible>)>>);

/// The thread `milepost-heartbeat`.
struct Beating {
    channel: Arc<Channel>,
    event: Event,
    every: Duration,
    stopped: Receiver<Infallible>,
    ended: Receiver<Infallible>,
}

impl Client {
    /// Has this process, a server, give a sign of life: now, and every 600 s or as `server` says, until what comes
    /// back is dropped or the client is shut down. It says the environment (`production`, or what the product's
    /// variable says), the installation's session and when that began, and what `server` says.
    ///
    /// What waits while there is no network is not told one by one: of several heartbeats the newest is delivered.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] where the product declares no event `heartbeat`, or `server` says what no event can
    /// hold; [`ErrorKind::Refused`] where nothing is collected, [`ErrorKind::Forked`] in a fork's child,
    /// [`ErrorKind::Io`] when the channel is full or no thread can be started. There is no thread then.
    pub fn heartbeat(&self, server: ServerInfo) -> Result<Heartbeat> {
        let inner = &*self.inner;
        if inner.process.is_forked() {
            return Err(forked());
        }
        let undeclared = || Error::invalid(format!("the product declares no event {HEARTBEAT:?}"));
        let event = inner.pulse.as_ref().ok_or_else(undeclared)?.event(&server)?;
        inner.now_if_open().map_err(|refusal| inner.error_of(refusal))?;
        let (stop, stopped) = bounded(0);
        let closed = || Error::new(ErrorKind::Closed, "the client was shut down");
        let ended = inner.life.end_of().ok_or_else(closed)?;
        let channel = inner.channel.clone();
        let beating = Beating { channel, event, every: server.every, stopped, ended };
        if !beating.beat() {
            return Err(Error::new(ErrorKind::Io, "the channel is full: the heartbeat was not taken"));
        }
        process::spawn("heartbeat", move || beating.run())
            .map_err(|error| Error::new(ErrorKind::Io, "no thread can be started").with_source(error))?;
        Ok(Heartbeat { stop: Some(stop), process: inner.process })
    }
}

impl Beating {
    fn run(self) {
        loop {
            select! {
                recv(self.stopped) -> _ => return,
                recv(self.ended) -> _ => return,
                default(clock::wait(self.every)) => {}
            }
            // One that is refused now may be taken the next time.
            self.beat();
        }
    }

    /// Gives a sign of life. `false` where there is no room for it.
    fn beat(&self) -> bool {
        if !self.channel.is_open() {
            return true;
        }
        let mut event = self.event.clone();
        Stamp::new(clock::wall_micros(), Class::Latest).put(&mut event);
        let sent = self.channel.send(event).is_ok();
        if !sent {
            self.channel.counters.refuse(Refusal::Full, 1);
        }
        sent
    }
}

impl Life {
    pub(super) fn new() -> Self {
        Self(Some(bounded(0)).into())
    }

    /// What ends with the client, as long as it lives.
    fn end_of(&self) -> Option<Receiver<Infallible>> {
        let life = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        life.as_ref().map(|(_, ended)| ended.clone())
    }

    pub(super) fn end(&self) {
        drop(self.0.lock().unwrap_or_else(PoisonError::into_inner).take());
    }

    /// Leaves it as it is, in a process that has nothing to end.
    pub(super) fn forget(&mut self) {
        mem::forget(self.0.get_mut().unwrap_or_else(PoisonError::into_inner).take());
    }
}

impl Drop for Heartbeat {
    fn drop(&mut self) {
        let stop = self.stop.take();
        if self.process.is_forked() {
            // A lock in it may be one that the parent's thread held.
            mem::forget(stop);
        }
    }
}

impl fmt::Debug for Heartbeat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Heartbeat").finish_non_exhaustive()
    }
}
