//! `milepost keygen`, and the keys that other commands sign and verify with.

use std::path::PathBuf;

use clap::Args;
use milepost::{Admin, PublicKey, SecretKey};

use super::Common;
use super::output::{DONE, print_json, print_line};

#[derive(Args)]
pub(super) struct Keygen {
    /// Where the secret key goes; the public one goes to the same name and `.pub`
    file: PathBuf,
}

/// What signs a file.
#[derive(Args)]
pub(super) struct Signing {
    /// Sign it with this secret key, which `milepost keygen` made
    #[arg(long, value_name = "KEY")]
    sign: Option<PathBuf>,
}

/// Who has to have signed a file.
#[derive(Args)]
pub(super) struct Verifying {
    /// Accept it only with a signature by this public key, or another that is named so
    #[arg(long = "verify", value_name = "KEY")]
    keys: Vec<PathBuf>,
}

impl Keygen {
    pub(super) fn run(&self, common: &Common) -> anyhow::Result<u8> {
        let public = SecretKey::create(&self.file)?;
        let [secret_file, public_file] = ["", ".pub"].map(|end| format!("{}{end}", self.file.display()));
        match common.json {
            true => print_json(&serde_json::json!({
                "secret_key_file": secret_file,
                "public_key_file": public_file,
                "public_key": public.to_string(),
            }))?,
            false => print_line(&format!(
                "{secret_file} signs, and stays here; {public_file} goes to whoever verifies\npublic key {public}"
            ))?,
        }
        Ok(DONE)
    }
}

impl Signing {
    pub(super) fn is_wanted(&self) -> bool {
        self.sign.is_some()
    }

    pub(super) fn of(&self, admin: Admin) -> anyhow::Result<Admin> {
        Ok(match &self.sign {
            Some(file) => admin.sign_with(SecretKey::read(file)?),
            None => admin,
        })
    }
}

impl Verifying {
    pub(super) fn keys(&self) -> anyhow::Result<Vec<PublicKey>> {
        Ok(self.keys.iter().map(|file| PublicKey::read(file)).collect::<milepost::Result<_>>()?)
    }

    pub(super) fn of(&self, admin: Admin) -> anyhow::Result<Admin> {
        Ok(admin.accept_only(self.keys()?))
    }
}
