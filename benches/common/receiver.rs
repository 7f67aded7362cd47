//! Receivers on loopback: one that reads and discards, at once or slowly, one that never answers, and an address where
//! nobody is.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

/// Ends with the process.
pub(crate) struct Receiver {
    pub(crate) url: String,
    /// Requests that were read.
    pub(crate) requests: Arc<AtomicU64>,
    /// Bytes of their bodies.
    pub(crate) bytes: Arc<AtomicU64>,
}

impl Receiver {
    /// Takes everything.
    pub(crate) fn discarding() -> Self {
        Self::start(Some(Duration::ZERO))
    }

    /// Takes everything, each request after so long.
    pub(crate) fn slow(wait: Duration) -> Self {
        Self::start(Some(wait))
    }

    /// Reads everything, and never answers.
    pub(crate) fn black_hole() -> Self {
        Self::start(None)
    }

    fn start(answers_after: Option<Duration>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let url = format!("http://{}/v1/logs", listener.local_addr().expect("it has an address"));
        let (requests, bytes) = <(Arc<AtomicU64>, Arc<AtomicU64>)>::default();
        let counted = (requests.clone(), bytes.clone());
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let counted = counted.clone();
                thread::spawn(move || serve(stream, answers_after, &counted.0, &counted.1));
            }
        });
        Self { url, requests, bytes }
    }
}

/// A URL where nobody listens.
pub(crate) fn nobody() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    format!("http://{}/v1/logs", listener.local_addr().expect("it has an address"))
}

fn serve(
    mut stream: TcpStream,
    answers_after: Option<Duration>,
    requests: &AtomicU64,
    bytes: &AtomicU64,
) -> Option<()> {
    let mut reader = BufReader::with_capacity(64 << 10, stream.try_clone().ok()?);
    let mut line = String::new();
    loop {
        let mut length = 0;
        loop {
            line.clear();
            if reader.read_line(&mut line).ok()? == 0 {
                return None;
            }
            let Some((name, value)) = line.trim_end().split_once(": ") else {
                if line == "\r\n" {
                    break;
                }
                continue;
            };
            if name.eq_ignore_ascii_case("content-length") {
                length = value.parse().ok()?;
            }
        }
        std::io::copy(&mut reader.by_ref().take(length), &mut std::io::sink()).ok()?;
        requests.fetch_add(1, Ordering::Relaxed);
        bytes.fetch_add(length, Ordering::Relaxed);
        if let Some(wait) = answers_after {
            thread::sleep(wait);
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").ok()?;
        }
    }
}
