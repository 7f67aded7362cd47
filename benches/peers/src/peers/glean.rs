use std::collections::HashMap;
use std::fs;
use std::path::Path;

use ::glean::net::{CapablePingUploadRequest, PingUploader, UploadResult};
use ::glean::private::EventMetric;
use ::glean::traits::ExtraKeys;
use ::glean::{ClientInfoMetrics, CommonMetricData, ConfigurationBuilder, Lifetime};

use crate::event::{KEYS, NAME, Properties, properties};
use crate::peer::{Peer, Result};

const CATEGORY: &str = "peers";

struct Glean(EventMetric<Extra>);

/// What its generator makes of a declaration, but with values that stand there already.
struct Extra(Properties);

impl ExtraKeys for Extra {
    const ALLOWED_KEYS: &'static [&'static str] = &KEYS;

    fn into_ffi_extra(self) -> HashMap<String, String> {
        self.0.map(|(key, value)| (key.to_owned(), value.to_owned())).into()
    }
}

/// A receiver that is down.
#[derive(Debug)]
struct Down;

impl PingUploader for Down {
    fn upload(&self, _: CapablePingUploadRequest) -> UploadResult {
        UploadResult::recoverable_failure()
    }
}

pub fn open(directory: &Path) -> Result<Box<dyn Peer>> {
    let configuration =
        ConfigurationBuilder::new(true, directory, "milepost-peers").with_uploader(Down).build();
    ::glean::initialize(configuration, ClientInfoMetrics::unknown());
    let mut glean = Glean(EventMetric::new(CommonMetricData {
        name: NAME.into(),
        category: CATEGORY.into(),
        send_in_pings: vec!["events".into()],
        lifetime: Lifetime::Ping,
        ..Default::default()
    }));
    // It starts in a thread of its own, and keeps a thousand calls at most until it has.
    glean.flush();
    Ok(Box::new(glean))
}

/// Those that wait for their ping, and those in pings that wait for the uploader. Opened by glean itself they would
/// become a ping, and some go: there is a quota for pings.
pub fn count(directory: &Path) -> Result<u64> {
    let mark = format!("\"category\":\"{CATEGORY}\"");
    let mut events = 0;
    for folder in ["events", "pending_pings"] {
        for entry in fs::read_dir(directory.join(folder)).into_iter().flatten() {
            events += fs::read_to_string(entry?.path())?.matches(&mark).count();
        }
    }
    Ok(events as u64)
}

impl Peer for Glean {
    fn enqueue(&mut self, number: u64) -> bool {
        self.0.record(Extra(*properties(number)));
        true
    }

    /// Any question is answered after what was recorded before it.
    fn flush(&mut self) {
        ::glean::get_registered_ping_names();
    }
}

impl Drop for Glean {
    fn drop(&mut self) {
        ::glean::shutdown();
    }
}
