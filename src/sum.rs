//! SHA-256, and small files that end in it. The only place that names sha2.
//!
//! ```text
//! {"..."}                 one line of JSON
//! sha256 0f1e...          of that line, its end left out
//! ```

use std::io;

use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

/// A sum.
pub(crate) type Sum = [u8; 32];

/// A sum of bytes that come one after the other.
#[derive(Clone, Default)]
pub(crate) struct Summing(Sha256);

impl Summing {
    pub(crate) fn add(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    pub(crate) fn end(self) -> Sum {
        self.0.finalize().into()
    }
}

/// The sum as people write it.
pub(crate) fn hex(sum: &Sum) -> String {
    sum.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A record as the bytes of a small file.
pub(crate) fn seal(record: &impl Serialize) -> io::Result<Vec<u8>> {
    let json = serde_json::to_string(record).map_err(io::Error::other)?;
    Ok(format!("{json}\n{}\n", line(&json)).into_bytes())
}

/// Reads a small file back. `Err` says what is wrong with it.
pub(crate) fn unseal<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| "it is no text")?;
    let (json, sum) = text.trim_end().rsplit_once('\n').ok_or("its sum is missing")?;
    // A text that went through another system's hands may have its line ends.
    let json = json.trim_end_matches('\r');
    if sum != line(json) {
        return Err("its sum is wrong".into());
    }
    serde_json::from_str(json).map_err(|error| error.to_string())
}

fn line(json: &str) -> String {
    let mut sum = Summing::default();
    sum.add(json.as_bytes());
    format!("sha256 {}", hex(&sum.end()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_reads_back_and_every_changed_byte_shows() {
        let bytes = seal(&("a record", 7)).unwrap();
        assert_eq!(unseal::<(String, u32)>(&bytes).unwrap(), ("a record".to_owned(), 7));
        for at in 0..bytes.len() - 1 {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            assert!(unseal::<(String, u32)>(&changed).is_err(), "byte {at}");
            assert!(unseal::<(String, u32)>(&bytes[..at]).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn it_is_the_sha_256_that_others_know() {
        let sum = hex(&Summing::default().end());
        assert_eq!(sum, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    }
}
