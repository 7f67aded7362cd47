//! Looks into a bundle. No store is needed for it, and nothing is written.

use std::path::Path;

use super::admin::Admin;
use super::export::bundle_error;
use super::lines::{bodies, on_the_way};
use crate::bundle::{Bundle, BundleError, Origins, PublicKey, Unpacker, Verified, check_signer, verify};
use crate::delivery::{Format, Parcel};
use crate::error::Result;

impl Admin {
    /// What is in a bundle, and its SHA-256, once all of its sums were right, and its signature, if it has one. Where
    /// there are accepted keys, one of them has to have signed it.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Corrupt`](crate::ErrorKind::Corrupt) says what is wrong with it.
    pub fn inspect(file: &Path, accepted: &[PublicKey]) -> Result<(Bundle, String)> {
        let read = vouched(file, accepted)?;
        Ok((read.bundle, crate::sum::hex(&read.sum)))
    }

    /// Shows the events of a bundle as the bodies of the requests that would deliver them.
    ///
    /// # Errors
    ///
    /// As [`Admin::inspect`]; the whole of it was verified before the first is shown.
    pub fn inspect_bodies(
        file: &Path,
        accepted: &[PublicKey],
        format: Format,
        show: &mut dyn FnMut(&[u8]),
    ) -> Result<()> {
        vouched(file, accepted)?;
        let error = |error| bundle_error(file, error);
        let mut unpacker = Unpacker::open(file, false).map_err(error)?;
        let (mut origins, mut bodies) = (Origins::default(), bodies(format, show));
        while let Some(block) = unpacker.next().map_err(error)? {
            if let Some(origin) = origins.meet(&block).map_err(error)? {
                let (block, owed) = (block.bytes.to_vec(), block.all());
                bodies.add(on_the_way(Parcel { block, owed, origin, journal_events: None }));
            }
        }
        bodies.send();
        Ok(())
    }
}

/// Reads all of a bundle, and asks who vouches for it.
fn vouched(file: &Path, accepted: &[PublicKey]) -> Result<Verified> {
    let error = |error| bundle_error(file, error);
    let read = verify(file).map_err(error)?;
    check_signer(read.signer, accepted).map_err(|why| error(BundleError::Damaged(why)))?;
    Ok(read)
}
