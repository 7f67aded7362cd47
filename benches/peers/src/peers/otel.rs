use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::SystemTime;

use opentelemetry::logs::{LogRecord, Logger, LoggerProvider};
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::logs::{LogBatch, LogExporter, SdkLogger, SdkLoggerProvider};

use crate::event::{NAME, properties};
use crate::peer::{Peer, Result};

/// What it holds by default; what is more it drops, and tells nobody but its own log.
const CAPACITY: u64 = 2_048;

struct Sdk {
    provider: SdkLoggerProvider,
    logger: SdkLogger,
    emitted: u64,
    exported: Arc<AtomicU64>,
}

#[derive(Debug)]
struct Nowhere(Arc<AtomicU64>);

pub fn open(_: &Path) -> Result<Box<dyn Peer>> {
    let exported = Arc::new(AtomicU64::new(0));
    let provider = SdkLoggerProvider::builder().with_batch_exporter(Nowhere(exported.clone())).build();
    let logger = provider.logger("milepost-peers");
    Ok(Box::new(Sdk { provider, logger, emitted: 0, exported }))
}

impl LogExporter for Nowhere {
    async fn export(&self, batch: LogBatch<'_>) -> OTelSdkResult {
        self.0.fetch_add(batch.iter().count() as u64, Relaxed);
        Ok(())
    }
}

impl Peer for Sdk {
    fn enqueue(&mut self, number: u64) -> bool {
        if self.emitted - self.exported.load(Relaxed) >= CAPACITY {
            return false;
        }
        let mut record = self.logger.create_log_record();
        record.set_event_name(NAME);
        record.set_timestamp(SystemTime::now());
        record.add_attributes(*properties(number));
        self.logger.emit(record);
        self.emitted += 1;
        true
    }

    fn flush(&mut self) {
        self.provider.force_flush().expect("the exporter takes it");
    }
}
