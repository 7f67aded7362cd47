//! Whether events would be delivered: a person's question before they are.

use super::admin::Admin;
use super::route::Route;
use crate::delivery::Checked;
use crate::error::Result;

impl Admin {
    /// Goes the whole way to each receiver with a batch that has no events: name, connection, TLS, answer, clock. Nothing
    /// that was collected is sent, and nothing is changed. A destination that a program delivers to by its own means is
    /// left out.
    ///
    /// # Errors
    ///
    /// [`crate::ErrorKind::Refused`] where nothing may be sent, [`crate::ErrorKind::Invalid`] without an endpoint.
    pub fn check(&self) -> Result<Vec<Checked>> {
        let ways = self.ways_to_send()?;
        let checked = ways.routes.iter().map(Route::check);
        checked.filter_map(Result::transpose).collect()
    }
}
