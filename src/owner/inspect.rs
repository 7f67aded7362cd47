//! Looks into a bundle. No store is needed for it, and nothing is written.

use std::path::Path;

use super::admin::Admin;
use super::export::{bodies, bundle_error, on_the_way};
use crate::bundle::{Bundle, Origins, Unpacker, verify};
use crate::delivery::{Format, Parcel};
use crate::error::Result;

impl Admin {
    /// What is in a bundle, and its SHA-256, once all of its sums were right.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Corrupt`](crate::ErrorKind::Corrupt) says what is wrong with it.
    pub fn inspect(file: &Path) -> Result<(Bundle, String)> {
        let read = verify(file).map_err(|error| bundle_error(file, error))?;
        Ok((read.bundle, crate::sum::hex(&read.sum)))
    }

    /// Shows the events of a bundle as the bodies of the requests that would deliver them.
    ///
    /// # Errors
    ///
    /// As [`Admin::inspect`]; the whole of it was verified before the first is shown.
    pub fn inspect_bodies(file: &Path, format: Format, show: &mut dyn FnMut(&[u8])) -> Result<()> {
        let error = |error| bundle_error(file, error);
        verify(file).map_err(error)?;
        let mut unpacker = Unpacker::open(file, false).map_err(error)?;
        let (mut origins, mut bodies) = (Origins::default(), bodies(format, show));
        while let Some(block) = unpacker.next().map_err(error)? {
            if let Some(origin) = origins.meet(&block).map_err(error)? {
                let (block, owed) = (block.bytes.to_vec(), block.all());
                bodies.add(on_the_way(Parcel { block, owed, origin }));
            }
        }
        bodies.send();
        Ok(())
    }
}
