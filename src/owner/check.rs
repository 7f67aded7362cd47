//! Whether events would be delivered: a person's question before they are.

use super::admin::Admin;
use crate::delivery::{Checked, check};
use crate::error::{Error, ErrorKind, Result};

impl Admin {
    /// Goes the whole way to the receiver with a batch that has no events: name, connection, TLS, answer, clock. Nothing
    /// that was collected is sent, and nothing is changed.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Refused`] where nothing may be sent, [`ErrorKind::Invalid`] without an endpoint.
    pub fn check(&self) -> Result<Checked> {
        if let Some(reason) = self.refusal() {
            return Err(Error::new(ErrorKind::Refused, reason));
        }
        let Some(route) = &self.settings.route else {
            return Err(Error::invalid("there is no endpoint: name one, or set MILEPOST_ENDPOINT"));
        };
        if self.settings.deliverable().is_none() {
            return Err(Error::new(
                ErrorKind::Refused,
                "the mode is local: nothing is sent over the network",
            ));
        }
        Ok(check(&route.endpoint, &route.transport()?, &route.wire()))
    }
}
