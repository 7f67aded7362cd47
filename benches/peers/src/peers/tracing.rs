use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, WorkerGuard};
use tracing_appender::rolling::{self, RollingFileAppender};

use crate::event::{NAME, properties};
use crate::peer::{Peer, Result};

const FILE: &str = "events.log";

struct Lines {
    handed_over: u64,
    dropped: ErrorCounter,
    written: Arc<AtomicU64>,
    _guard: WorkerGuard,
}

/// The appender says nothing of what it has written.
struct Counting(RollingFileAppender, Arc<AtomicU64>);

pub fn open(directory: &Path) -> Result<Box<dyn Peer>> {
    let written = Arc::new(AtomicU64::new(0));
    let (writer, guard) = NonBlocking::new(Counting(rolling::never(directory, FILE), written.clone()));
    let dropped = writer.error_counter();
    ::tracing::subscriber::set_global_default(tracing_subscriber::fmt().json().with_writer(writer).finish())?;
    Ok(Box::new(Lines { handed_over: 0, dropped, written, _guard: guard }))
}

pub fn count(directory: &Path) -> Result<u64> {
    let text = std::fs::read_to_string(directory.join(FILE))?;
    Ok(text.lines().filter(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()).count() as u64)
}

impl Peer for Lines {
    fn enqueue(&mut self, number: u64) -> bool {
        let dropped = self.dropped.dropped_lines();
        let values = properties(number).map(|(_, value)| value);
        ::tracing::info!(
            id = number,
            region = values[0],
            work_pool = values[1],
            state = values[2],
            runtime = values[3],
            trigger = values[4],
            flow_run = values[5],
            NAME
        );
        let is_taken = self.dropped.dropped_lines() == dropped;
        self.handed_over += u64::from(is_taken);
        is_taken
    }

    fn flush(&mut self) {
        while self.written.load(Relaxed) < self.handed_over {
            thread::sleep(Duration::from_micros(100));
        }
    }
}

impl Write for Counting {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.write_all(line)?;
        self.1.fetch_add(1, Relaxed);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}
