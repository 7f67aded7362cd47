//! Takes in what a bundle brings, each event once, and delivers a bundle by itself.

use std::collections::HashMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::admin::Admin;
use super::engine::Engine;
use super::export::{absolute, as_shown, bundle_error};
use super::flush::FlushReport;
use super::receipt::{Receipted, check_place};
use crate::block::{Addresses, Block, Carried, Epoch, Origin, OriginId, part, read_block};
use crate::bundle::{
    Bundle, BundleError, Origins, Receipt, SecretKey, Unpacker, Verified, check_events, verify,
};
use crate::clock;
use crate::error::{Error, ErrorKind, Result};
use crate::installation::{Installation, fs};
use crate::journal::Carrier;
use crate::limits::{OWNER_WAIT_EVERY, RECORD_BYTES_MAX};
use crate::product::Mode;
use crate::spool::{Imports, Step, reached};
use crate::sum::{Sum, hex};

/// What came of a bundle's file.
#[derive(Debug, Clone, Default, Serialize)]
#[non_exhaustive]
pub struct Imported {
    /// The file.
    #[serde(serialize_with = "as_shown")]
    pub file: PathBuf,
    /// The bundle's id, where that can be read.
    pub bundle: Option<String>,
    /// Events that were taken in, and wait.
    pub imported: u64,
    /// Events that had come before.
    pub known: u64,
    /// Events that are whole, and of which nobody says whose they are.
    pub orphans: u64,
}

/// What delivering a bundle came to.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Delivered {
    /// What the flush came to. Nothing where the receipt was there already.
    pub flush: FlushReport,
    /// What the receipt says.
    pub receipt: Receipted,
}

impl Admin {
    /// Takes in what a bundle brings, as far as it did not come before: as journals of their own, in which each event
    /// keeps its address, and so its id. They are delivered like all else, and go under this installation's consent.
    /// It is durable when this returns, and may be repeated.
    ///
    /// With `salvages`, whatever is whole in a damaged file; nobody vouches for that.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Refused`] where nothing is collected, [`ErrorKind::Corrupt`] for a file of which not every sum is
    /// right, [`ErrorKind::Invalid`] for a bundle of this very installation, and as [`Admin::peek`]. Nothing was
    /// taken in then.
    pub fn import(&self, file: &Path, salvages: bool, progress: &mut dyn FnMut(u64)) -> Result<Imported> {
        self.permitted()?;
        let Some(installation) = &self.settings.installation else {
            return Err(Error::new(ErrorKind::Refused, self.settings.watch.consent().reason));
        };
        let error = |error| bundle_error(file, error);
        let (bundle, sum) = if salvages {
            self.accept(file, None)?;
            (Unpacker::open(file, true).map_err(error)?.bundle, None)
        } else {
            let Verified { bundle, sum, signer } = verify(file).map_err(error)?;
            self.accept(file, signer)?;
            (Some(bundle), Some(sum))
        };
        let directory = installation.directory();
        let made = installation.create().and_then(|_| {
            let device_id = installation.device_id_or_new()?;
            installation.sync().map(|()| device_id)
        });
        let device_id = made.map_err(|error| Error::io("collect in", directory, error))?;
        let epoch = Epoch::of(&device_id);
        if bundle.as_ref().is_some_and(|bundle| bundle.epoch() == epoch) {
            return Err(Error::invalid(format!(
                "{} was exported here: its events wait until a receipt comes, or export --cancel",
                file.display()
            )));
        }
        let source = Source { file, bundle: bundle.as_ref(), sum };
        self.holding(installation, |engine| import(installation, engine, epoch, &source, progress))
    }

    /// Delivers a bundle by itself: takes it into a spool beside the file, delivers what waits there, writes a
    /// receipt to `receipt`, and removes that spool when nothing waits any more. What was interrupted goes on where
    /// it was. A no, also one that comes meanwhile, removes that spool; the file is its bearer's.
    ///
    /// # Errors
    ///
    /// As [`Admin::import`] and [`Admin::flush`].
    pub fn deliver(
        mut self,
        file: &Path,
        receipt: &Path,
        timeout: Duration,
        progress: &mut dyn FnMut(&FlushReport) -> bool,
    ) -> Result<Delivered> {
        let (file, receipt) = (absolute(file)?, absolute(receipt)?);
        let named = |before: &str, after: &str| {
            let name = [before.as_ref(), file.file_name().unwrap_or_default(), after.as_ref()];
            file.with_file_name(name.into_iter().collect::<OsString>())
        };
        let (beside, old) = (named("", ".milepost"), named(".", ".milepost-old"));
        let remove = |path: &Path| fs::remove_tree(path).map_err(|error| Error::io("remove", path, error));
        if self.is_refused() {
            remove(&beside)?;
        }
        self.permitted()?;
        let read = verify(&file).map_err(|error| bundle_error(&file, error))?;
        self.accept(&file, read.signer)?;
        remove(&old)?;
        check_place(&receipt)?;
        if let Some(before) = self.settled_receipt(&receipt, &hex(&read.sum)) {
            // It came to its end before, but for the spool.
            remove(&beside)?;
            return Ok(Delivered { receipt: before, ..Delivered::default() });
        }
        self.settings.installation = Some(Installation::new(beside.clone()));
        self.import(&file, false, &mut |_| ())?;
        let flush = self.flush(timeout, progress)?;
        let receipt = self.receipt(&file, &receipt)?;
        let is_over = flush.is_complete() && receipt.waiting == 0;
        let is_refused = self.is_refused();
        if is_over || is_refused {
            std::fs::rename(&beside, &old).map_err(|error| Error::io("remove", &beside, error))?;
            reached(Step::SpoolHidden);
            remove(&old)?;
        }
        match self.refusal().filter(|_| is_refused && !is_over) {
            Some(reason) => Err(Error::new(ErrorKind::Refused, reason)),
            None => Ok(Delivered { flush, receipt }),
        }
    }

    /// What a receipt says that is there already, if it is for this bundle and says of every event what became of it.
    /// Whoever signs believes no other's, and whoever wants signatures none without one.
    fn settled_receipt(&self, path: &Path, sha256: &str) -> Option<Receipted> {
        let bytes = fs::read_to_limit(path, RECORD_BYTES_MAX).ok()?;
        let (receipt, signed_by) = Receipt::read(&bytes).ok()?;
        let signer = self.signing.key.as_ref().map(SecretKey::public);
        let is_ours = match signer {
            Some(signer) => signed_by == Some(signer),
            None => self.check_signer(signed_by).is_ok(),
        };
        let is_settled = is_ours && receipt.bundle_sha256 == sha256 && receipt.waiting.is_empty();
        is_settled.then(|| Receipted::of(&receipt))
    }

    /// Whether the installation's no holds. One that is just being written is waited for.
    fn is_refused(&self) -> bool {
        loop {
            let state = self.settings.watch.look_closely();
            if !state.is_settling {
                return state.is_refused;
            }
            std::thread::sleep(clock::wait(OWNER_WAIT_EVERY));
        }
    }
}

/// What is taken in.
struct Source<'a> {
    file: &'a Path,
    /// What it says of itself, where that can be read.
    bundle: Option<&'a Bundle>,
    /// Its sum as it was verified; `None` where what is whole in it is salvaged.
    sum: Option<Sum>,
}

fn import(
    installation: &Installation,
    engine: &mut Engine,
    epoch: Epoch,
    &Source { file, bundle, sum }: &Source<'_>,
    progress: &mut dyn FnMut(u64),
) -> Result<Imported> {
    let salvages = sum.is_none();
    let error = |error| bundle_error(file, error);
    let io_error = |error| Error::io("write in", &installation.imports(), error);
    let mut imports = Imports::read(installation).map_err(io_error)?;
    let mut unpacker = Unpacker::open(file, salvages).map_err(error)?;
    let (mut origins, mut stamps) = (Origins::default(), Stamps::new(bundle, epoch));
    let mut carrier = Carrier::new(&imports.directory(), epoch);
    let mut new = Addresses::default();
    let mut imported = Imported {
        file: file.into(),
        bundle: bundle.map(|bundle| bundle.bundle.clone()),
        ..Imported::default()
    };
    while let Some(block) = unpacker.next().map_err(error)? {
        let origin = match origins.meet(&block) {
            Ok(Some(origin)) => origin,
            Ok(None) => continue,
            Err(_) if salvages => {
                imported.orphans += u64::from(block.count);
                continue;
            }
            Err(what) => return Err(error(what)),
        };
        if salvages && check_events(&block).is_err() {
            imported.orphans += u64::from(block.count);
            continue;
        }
        if origin.epoch() == epoch {
            // They are of this very installation, whatever the summary says, and wait or met their end here.
            imported.known += u64::from(block.count);
            continue;
        }
        let here = imports.events(&block) & !engine.spool.fates.of(&block).dropped | new.events(&block);
        let events = block.all() & !here;
        imported.known += u64::from((block.all() & here).count_ones());
        if events == 0 {
            continue;
        }
        let (origin, bytes) = stamps.stamp(&origin, &block, events);
        carrier.add(&origin, &bytes).map_err(io_error)?;
        new.add(&block, events);
        imported.imported += u64::from(events.count_ones());
        progress(imported.imported);
    }
    if let Some(sum) = sum
        && unpacker.end().map_err(error)?.0 != sum
    {
        return Err(error(BundleError::Damaged("somebody replaced it while it was read".into())));
    }
    let journals = carrier.finish().map_err(io_error)?;
    if !new.is_empty() {
        imports.add(&new, &journals).map_err(io_error)?;
        engine.spool.fates.keep(|journal| imports.knows(journal));
    }
    Ok(imported)
}

/// What is noted beside each origin: which bundle brought it, and both hosts' clocks.
struct Stamps {
    carried: Carried,
    stamped: HashMap<OriginId, Arc<Origin>>,
}

impl Stamps {
    fn new(bundle: Option<&Bundle>, epoch: Epoch) -> Self {
        let exported = bundle.map_or(0, |bundle| bundle.exported_micros);
        let bundle = bundle.map(Bundle::id).unwrap_or_default();
        let carried = Carried { bundle, exported, imported: clock::wall_micros(), epoch };
        Self { carried, stamped: HashMap::new() }
    }

    /// The origin with its note, and these events of a block as blocks of it.
    fn stamp(&mut self, origin: &Origin, block: &Block<'_>, events: u128) -> (Arc<Origin>, Vec<u8>) {
        let carried = &self.carried;
        let stamped = self.stamped.entry(block.origin).or_insert_with(|| {
            // What came over several gaps was exported when it left the host that it is of.
            let exported = origin.carried.as_ref().map_or(carried.exported, |first| first.exported);
            let carried = Carried { exported, ..carried.clone() };
            Arc::new(Origin { mode: Mode::On, carried: Some(carried), ..origin.clone() })
        });
        let stamped = stamped.clone();
        let bytes = part(block, events).unwrap_or_default();
        let (mut rest, mut out, id) = (&bytes[..], Vec::new(), stamped.id());
        while let Ok(block) = read_block(rest) {
            out.extend_from_slice(&block.with_origin(id));
            rest = &rest[block.bytes.len()..];
        }
        (stamped, out)
    }
}
