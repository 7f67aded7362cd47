//! Signs what leaves over an air gap, and asks of what comes who vouches for it.

use std::path::Path;

use super::admin::Admin;
use super::export::bundle_error;
use crate::bundle::{BundleError, PublicKey, SecretKey, check_signer};
use crate::error::Result;

/// What a command line said of it.
#[derive(Default)]
pub(super) struct Signing {
    /// Signs.
    pub(super) key: Option<SecretKey>,
    /// Only what one of these signed is accepted; without any, everything is.
    accepted: Vec<PublicKey>,
}

impl Admin {
    /// Signs the bundles and the receipts that it writes.
    pub fn sign_with(mut self, key: SecretKey) -> Self {
        self.signing.key = Some(key);
        self
    }

    /// Takes in and acknowledges only what one of these keys signed. Beside it, the setting `verify` of the
    /// installation does the same for everybody: both have to agree.
    pub fn accept_only(mut self, keys: Vec<PublicKey>) -> Self {
        self.signing.accepted = keys;
        self
    }

    /// Whether a bundle that was signed so is accepted here.
    pub(super) fn accept(&self, file: &Path, signer: Option<PublicKey>) -> Result<()> {
        self.check_signer(signer).map_err(|why| bundle_error(file, BundleError::Damaged(why)))
    }

    /// Whether what was signed so is accepted here; `Err` says why not.
    pub(super) fn check_signer(&self, signer: Option<PublicKey>) -> Result<(), String> {
        check_signer(signer, &self.signing.accepted)?;
        check_signer(signer, self.settings.verify.as_ref().map_err(Clone::clone)?)
    }
}
