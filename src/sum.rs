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

/// Bytes as people write them.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Reads what [`hex`] wrote, where it is exactly so long.
pub(crate) fn unhex<const LEN: usize>(text: &str) -> Option<[u8; LEN]> {
    let mut bytes = [0; LEN];
    let is_hex = text.len() == 2 * LEN && text.bytes().all(|digit| digit.is_ascii_hexdigit());
    for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().chunks(2)).filter(|_| is_hex) {
        *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    }
    is_hex.then_some(bytes)
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
    format!("sha256 {}", hex(&sum_of(json)))
}

/// The sum of a text.
pub(crate) fn sum_of(text: &str) -> Sum {
    let mut sum = Summing::default();
    sum.add(text.as_bytes());
    sum.end()
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
    fn bytes_are_read_as_they_are_written_and_nothing_else_is() {
        assert_eq!(unhex(&hex(&[0, 0x7f, 0xff])), Some([0, 0x7f, 0xff]));
        for other in ["", "00", "0000000", "00000g", "+00000", "0\u{e9}000"] {
            assert_eq!(unhex::<3>(other), None, "{other}");
        }
    }

    #[test]
    fn it_is_the_sha_256_that_others_know() {
        let sum = hex(&Summing::default().end());
        assert_eq!(sum, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    }
}
