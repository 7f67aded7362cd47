//! Who vouches for a bundle or a receipt: ed25519 keys and signatures. The only place that names ed25519-dalek.
//!
//! A key is a file of one line, closed to everybody else:
//!
//! ```text
//! milepost-secret-key 9d61...     32 bytes in hexadecimal
//! milepost-public-key d75a...     the same, in a file beside it whose name ends in .pub
//! ```
//!
//! What is signed is the text `milepost bundle 0f1e...` or `milepost receipt 0f1e...` with the SHA-256 of the one or
//! the other, so that a signature of the one is none of the other.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};

use crate::error::{Error, ErrorKind, Result};
use crate::installation::fs;
use crate::limits::SIGNING_KEY_BYTES_MAX;
use crate::sum::{Sum, hex, unhex};

const SECRET: &str = "milepost-secret-key ";
const PUBLIC: &str = "milepost-public-key ";

/// A key that signs bundles and receipts. It shows itself to nobody.
#[derive(Clone)]
pub struct SecretKey(SigningKey);

/// The key by which everybody knows what its [`SecretKey`] signed. Its text is hexadecimal.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PublicKey(VerifyingKey);

/// What is signed.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Signed {
    Bundle,
    Receipt,
}

impl Signed {
    fn message(self, sum: &Sum) -> String {
        let what = match self {
            Self::Bundle => "bundle",
            Self::Receipt => "receipt",
        };
        format!("milepost {what} {}", hex(sum))
    }
}

impl SecretKey {
    /// Makes a key and writes it: the secret one to `file`, the public one to `file` with `.pub` behind it. Both can
    /// be read by their owner alone.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] where one of the files is there already: no key is written over.
    pub fn create(file: &Path) -> Result<PublicKey> {
        let mut seed = [0; 32];
        let error = |error: getrandom::Error| Error::io("make a key for", file, error.into());
        getrandom::fill(&mut seed).map_err(error)?;
        let key = Self(SigningKey::from_bytes(&seed));
        let public = public_file(file);
        if let Some(there) = [file, &public].into_iter().find(|path| path.symlink_metadata().is_ok()) {
            return Err(Error::invalid(format!("{} is there already, and stays as it is", there.display())));
        }
        let lines =
            [(file, format!("{SECRET}{}\n", hex(&seed))), (&public, format!("{PUBLIC}{}\n", key.public()))];
        for (path, line) in lines {
            fs::write_new(path, line.as_bytes()).map_err(|error| Error::io("write", path, error))?;
        }
        Ok(key.public())
    }

    /// Reads what [`SecretKey::create`] wrote.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] for a file that holds something else, or that others can read.
    pub fn read(file: &Path) -> Result<Self> {
        if fs::is_open_to_others(file) {
            let path = file.display();
            return Err(Error::invalid(format!(
                "others can read {path}: chmod 600 {path}, or make another key"
            )));
        }
        let seed = read(file, SECRET, "secret")?;
        Ok(Self(SigningKey::from_bytes(&seed)))
    }

    pub(crate) fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key())
    }

    pub(crate) fn sign(&self, what: Signed, sum: &Sum) -> [u8; 64] {
        self.0.sign(what.message(sum).as_bytes()).to_bytes()
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretKey of {}", self.public())
    }
}

impl PublicKey {
    /// Reads the file beside a secret key.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] for a file that holds something else.
    pub fn read(file: &Path) -> Result<Self> {
        let bytes = read(file, PUBLIC, "public")?;
        Self::of(&bytes).ok_or_else(|| no_key(file, "public"))
    }

    /// Reads several, with commas between them.
    pub(crate) fn list(text: &str) -> Result<Vec<Self>> {
        text.split(',').filter(|key| !key.trim().is_empty()).map(str::parse).collect()
    }

    fn of(bytes: &[u8; 32]) -> Option<Self> {
        VerifyingKey::from_bytes(bytes).ok().map(Self)
    }

    pub(crate) fn has_signed(&self, what: Signed, sum: &Sum, signature: &[u8; 64]) -> bool {
        let signature = Signature::from_bytes(signature);
        self.0.verify_strict(what.message(sum).as_bytes(), &signature).is_ok()
    }
}

impl FromStr for PublicKey {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let key = unhex(text.trim()).and_then(|bytes| Self::of(&bytes));
        key.ok_or_else(|| Error::invalid(format!("{text:?} is no public key: 64 hexadecimal digits are")))
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(self.0.as_bytes()))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey {self}")
    }
}

/// Whether what this key signed is accepted, where only these are; `Err` says why not. Without any, everything is.
pub(crate) fn check_signer(signer: Option<PublicKey>, accepted: &[PublicKey]) -> Result<(), String> {
    match signer {
        _ if accepted.is_empty() => Ok(()),
        Some(signer) if accepted.contains(&signer) => Ok(()),
        Some(signer) => Err(format!("it is signed by {signer}, which is no key that is accepted here")),
        None => Err("it is not signed, and only what is signed is accepted here".into()),
    }
}

fn public_file(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".pub");
    name.into()
}

/// The bytes in a file of a key. Nothing of it is repeated in an error.
fn read(file: &Path, head: &str, kind: &str) -> Result<[u8; 32]> {
    let bytes =
        fs::read_to_limit(file, SIGNING_KEY_BYTES_MAX).map_err(|error| Error::io("read", file, error))?;
    let key = std::str::from_utf8(&bytes).ok().and_then(|text| unhex(text.strip_prefix(head)?.trim_end()));
    key.ok_or_else(|| no_key(file, kind))
}

fn no_key(file: &Path, kind: &str) -> Error {
    Error::new(ErrorKind::Invalid, format!("{} holds no {kind} key of milepost's", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_holds_for_one_sum_of_one_kind_by_one_key() {
        let directory = tempfile::tempdir().unwrap();
        let [mine, other] = ["mine", "other"].map(|name| {
            let file = directory.path().join(name);
            let public = SecretKey::create(&file).unwrap();
            assert_eq!(PublicKey::read(&public_file(&file)).unwrap(), public);
            assert_eq!(public.to_string().parse::<PublicKey>().unwrap(), public);
            (SecretKey::read(&file).unwrap(), public)
        });
        let signature = mine.0.sign(Signed::Bundle, &[7; 32]);
        assert!(mine.1.has_signed(Signed::Bundle, &[7; 32], &signature));
        assert!(!mine.1.has_signed(Signed::Receipt, &[7; 32], &signature));
        assert!(!mine.1.has_signed(Signed::Bundle, &[8; 32], &signature));
        assert!(!other.1.has_signed(Signed::Bundle, &[7; 32], &signature));
        for at in 0..signature.len() {
            let mut damaged = signature;
            damaged[at] ^= 1;
            assert!(!mine.1.has_signed(Signed::Bundle, &[7; 32], &damaged), "byte {at}");
        }
    }

    #[test]
    fn a_secret_key_shows_itself_to_nobody() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("key");
        SecretKey::create(&file).unwrap();
        let text = std::fs::read_to_string(&file).unwrap();
        let secret = text.trim_end().strip_prefix(SECRET).unwrap().to_owned();
        assert!(!format!("{:?}", SecretKey::read(&file).unwrap()).contains(&secret));
        let error = PublicKey::read(&file).unwrap_err();
        assert!(
            !error.to_string().contains(&secret) && error.to_string().contains("no public key"),
            "{error}"
        );
        assert_eq!(
            SecretKey::create(&file).unwrap_err().kind(),
            ErrorKind::Invalid,
            "no key is written over"
        );
    }

    /// The first of the test vectors of RFC 8032, 7.1: the seed and its public key.
    #[test]
    fn it_is_the_ed25519_that_others_know() {
        let seed = unhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60").unwrap();
        let public = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
        assert_eq!(SecretKey(SigningKey::from_bytes(&seed)).public().to_string(), public);
    }

    #[test]
    fn only_keys_that_are_accepted_vouch() {
        let key = |seed: u8| SecretKey(SigningKey::from_bytes(&[seed; 32])).public();
        assert!(check_signer(None, &[]).is_ok() && check_signer(Some(key(1)), &[]).is_ok());
        assert!(check_signer(Some(key(2)), &[key(1), key(2)]).is_ok());
        assert!(check_signer(Some(key(3)), &[key(1)]).unwrap_err().contains(&key(3).to_string()));
        assert!(check_signer(None, &[key(1)]).unwrap_err().contains("not signed"));
    }
}
