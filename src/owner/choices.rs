//! What whoever embeds milepost, or calls it, says for this once.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use crate::delivery::{Deliver, Format};
use crate::product::{Mode, Network};

/// What a builder or a command line chose.
#[derive(Clone, Default)]
pub(crate) struct Choices {
    pub(crate) home: Option<PathBuf>,
    pub(crate) endpoint: Option<String>,
    pub(crate) format: Option<Format>,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) network: Network,
    /// How the program delivers, by the destination's name.
    pub(crate) programs: BTreeMap<String, Arc<dyn Deliver>>,
    pub(crate) mode: Option<Mode>,
    pub(crate) plain_http: bool,
    pub(crate) interactive: Option<bool>,
    pub(crate) device_id: Option<String>,
}
