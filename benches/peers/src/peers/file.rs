use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Write};
use std::path::Path;

use crate::event::{BYTES, encoded};
use crate::peer::{Peer, Result};

const NAME: &str = "events";
const HEAD: usize = 8;

struct Appender(BufWriter<File>);

pub fn open(directory: &Path) -> Result<Box<dyn Peer>> {
    let file = OpenOptions::new().create(true).append(true).open(directory.join(NAME))?;
    Ok(Box::new(Appender(BufWriter::with_capacity(64 * 1024, file))))
}

pub fn count(directory: &Path) -> Result<u64> {
    let bytes = std::fs::read(directory.join(NAME))?;
    let is_whole = |record: &&[u8]| record[4..HEAD] == crc32fast::hash(&record[HEAD..]).to_le_bytes();
    Ok(bytes.chunks_exact(HEAD + BYTES).filter(is_whole).count() as u64)
}

impl Peer for Appender {
    fn enqueue(&mut self, number: u64) -> bool {
        let body = encoded(number);
        let mut record = [0; HEAD + BYTES];
        record[..4].copy_from_slice(&(BYTES as u32).to_le_bytes());
        record[4..HEAD].copy_from_slice(&crc32fast::hash(&body).to_le_bytes());
        record[HEAD..].copy_from_slice(&body);
        self.0.write_all(&record).is_ok()
    }

    fn flush(&mut self) {
        self.0.flush().expect("the disk takes it");
    }

    fn sync(&mut self) -> bool {
        self.flush();
        self.0.get_ref().sync_data().expect("the disk takes it");
        true
    }
}
