//! Writes receipts for bundles that came, and reads those that come back.

use std::collections::HashMap;
use std::path::Path;

use serde::Serialize;

use super::admin::{Admin, wait_for_writers};
use super::export::{absolute, bundle_error};
use crate::block::{Address, Addresses, Block, read_block};
use crate::bundle::{Origins, RECEIPT_VERSION, Receipt, Unpacker, verify};
use crate::clock;
use crate::error::{Error, ErrorKind, Result};
use crate::installation::fs;
use crate::limits::RECORD_BYTES_MAX;
use crate::spool::{Imports, Step, reached};
use crate::sum::hex;

/// What a receipt says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Receipted {
    /// The bundle's id.
    pub bundle: String,
    /// Events that a receiver took.
    pub delivered: u64,
    /// Events that a receiver refused for good.
    pub refused: u64,
    /// Events of which nobody knows yet.
    pub waiting: u64,
    /// Whether reading it changed anything: it was not read before.
    pub is_news: bool,
}

impl Receipted {
    pub(super) fn of(receipt: &Receipt) -> Self {
        Self {
            bundle: receipt.bundle.to_string(),
            delivered: receipt.delivered.count(),
            refused: receipt.all_refused().count(),
            waiting: receipt.waiting.count(),
            is_news: false,
        }
    }
}

impl Admin {
    /// Writes what became of a bundle's events so far. It may be written at any time, and again later.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Corrupt`] where the bundle is damaged, [`ErrorKind::Invalid`] where none of it was imported here,
    /// and as [`Admin::peek`].
    pub fn receipt(&self, bundle: &Path, out: &Path) -> Result<Receipted> {
        let out = absolute(out)?;
        let error = |error| bundle_error(bundle, error);
        let read = verify(bundle).map_err(error)?;
        self.accept(bundle, read.signer)?;
        check_place(&out)?;
        let never = || Error::invalid(format!("nothing of {} was imported here", bundle.display()));
        let installation = self.existing().filter(|found| found.imports().exists()).ok_or_else(never)?;
        let mut receipt = self.holding(installation, |engine| {
            let imports = Imports::read(installation);
            let imports = imports.map_err(|error| Error::io("read in", &installation.imports(), error))?;
            let mut reasons = HashMap::new();
            for (_, letter) in engine.spool.dead_letters()? {
                let address = read_block(&letter.block).map(|block| block.address(0));
                let answer: String = letter.answer.chars().filter(|sign| !sign.is_control()).collect();
                let reason = format!("{} answered {}: {answer}", letter.destination, letter.status);
                reasons.extend(address.ok().map(|address| (address, reason)));
            }
            let mut receipt = Receipt {
                milepost_receipt: RECEIPT_VERSION,
                bundle: read.bundle.id(),
                bundle_sha256: hex(&read.sum),
                installation: read.bundle.epoch(),
                product: read.bundle.product.clone(),
                made_at: clock::rfc3339(clock::wall_micros()),
                counts: Default::default(),
                delivered: Addresses::default(),
                refused: Default::default(),
                waiting: Addresses::default(),
            };
            let mut unpacker = Unpacker::open(bundle, false).map_err(error)?;
            let (mut origins, mut is_known) = (Origins::default(), false);
            let waiting = engine.spool.carried_waiting()?;
            while let Some(block) = unpacker.next().map_err(error)? {
                if origins.meet(&block).map_err(error)?.is_some() {
                    is_known |= imports.events(&block) != 0;
                    let fate = engine.spool.fates.of(&block);
                    // What one destination took, or somebody had wait again, another one may be owed still.
                    let over = block.all() & !waiting.events(&block);
                    let delivered = fate.delivered & over;
                    let refused = fate.refused & over & !delivered;
                    receipt.delivered.add(&block, delivered);
                    add_refused(&mut receipt, &block, refused, &reasons);
                    receipt.waiting.add(&block, block.all() & !delivered & !refused);
                }
            }
            if is_known { Ok(receipt) } else { Err(never()) }
        })?;
        receipt.count();
        let bytes = receipt.to_bytes(self.signing.key.as_ref());
        let written = bytes.and_then(|bytes| fs::replace(&out, &bytes));
        written.map_err(|error| Error::io("write", &out, error))?;
        reached(Step::ReceiptWritten);
        Ok(Receipted::of(&receipt))
    }

    /// Does what a receipt says: events that were delivered elsewhere are forgotten here, those that were refused are
    /// booked as dropped for [`DropReason::RefusedElsewhere`](crate::DropReason::RefusedElsewhere), and the others go
    /// on waiting for another receipt. It may be interrupted and repeated.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Corrupt`] where it is damaged, or is not for a bundle that was exported here; nothing was changed
    /// then. And as [`Admin::peek`].
    pub fn acknowledge(&self, file: &Path) -> Result<Receipted> {
        let bytes =
            fs::read_to_limit(file, RECORD_BYTES_MAX).map_err(|error| Error::io("read", file, error))?;
        let wrong = |why: String| {
            Error::new(ErrorKind::Corrupt, format!("{}: {why}; nothing was changed", file.display()))
        };
        let read = Receipt::read(&bytes);
        let (receipt, signer) =
            read.map_err(|why| wrong(format!("it is no receipt that can be used: {why}")))?;
        self.check_signer(signer).map_err(wrong)?;
        let unknown =
            || wrong("it is for a bundle that was not exported here, or was forgotten long ago".into());
        let installation = self.existing().ok_or_else(unknown)?;
        self.holding(installation, |engine| {
            let mut export = engine.spool.exports.get(receipt.bundle).cloned().ok_or_else(unknown)?;
            if export.epoch != receipt.installation {
                return Err(wrong("it is for another installation".into()));
            }
            if export.sha256 != receipt.bundle_sha256 {
                return Err(wrong("it is for another bundle of the same id".into()));
            }
            let delivered = export.waiting.take(&receipt.delivered);
            let refused = export.waiting.take(&receipt.all_refused());
            let is_news = !delivered.is_empty() || !refused.is_empty();
            if is_news {
                export.delivered.add_all(&delivered);
                export.refused.add_all(&refused);
                let written = engine.spool.exports.write(export);
                written.map_err(|error| Error::io("write in", &installation.exports(), error))?;
            }
            wait_for_writers(installation)?;
            // Also when it says nothing new: whoever read it before may have died before this.
            engine.spool.settle_ended(&mut engine.intake)?;
            Ok(Receipted { is_news, ..Receipted::of(&receipt) })
        })
    }
}

/// A receipt takes the place of an earlier one, and of nothing else.
pub(super) fn check_place(path: &Path) -> Result<()> {
    let is_free = match fs::read_to_limit(path, RECORD_BYTES_MAX) {
        Ok(bytes) => Receipt::read(&bytes).is_ok(),
        Err(error) => error.kind() == std::io::ErrorKind::NotFound,
    };
    let taken = || Error::invalid(format!("{} is there already, and no receipt", path.display()));
    if is_free { Ok(()) } else { Err(taken()) }
}

/// Adds refused events to a receipt, each with the reason that its dead letter has.
fn add_refused(receipt: &mut Receipt, block: &Block<'_>, events: u128, reasons: &HashMap<Address, String>) {
    for bit in (0..block.count).filter(|bit| events >> bit & 1 == 1) {
        let reason = reasons.get(&block.address(bit)).map_or("a receiver refused it", String::as_str);
        receipt.refused.entry(reason.to_owned()).or_default().add(block, 1 << bit);
    }
}
