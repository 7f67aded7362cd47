//! The demo's receiver: answers on loopback as an OTLP receiver does, and keeps what it got.

use std::collections::HashSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use anyhow::Context;
use flate2::read::GzDecoder;
use serde_json::Value;

/// What a receiver got.
#[derive(Default)]
pub(super) struct Received {
    pub(super) ids: HashSet<String>,
    /// The events' own numbers.
    pub(super) numbers: HashSet<u64>,
    /// Events that came again, by id.
    pub(super) repeats: u64,
    pub(super) requests: u64,
}

pub(super) struct Receiver {
    address: SocketAddr,
    received: Arc<Mutex<Received>>,
    stopping: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Receiver {
    pub(super) fn start(address: SocketAddr) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(address).with_context(|| format!("cannot listen on {address}"))?;
        let received = Arc::new(Mutex::new(Received::default()));
        let stopping = Arc::new(AtomicBool::new(false));
        let (keep, stop) = (received.clone(), stopping.clone());
        let thread = thread::spawn(move || {
            for stream in listener.incoming() {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                let keep = keep.clone();
                // Each connection ends with its client.
                thread::spawn(move || stream.map(|stream| serve(stream, &keep)));
            }
        });
        Ok(Self { address, received, stopping, thread })
    }

    /// Stops listening, and says what it got.
    pub(super) fn stop(self) -> anyhow::Result<Received> {
        self.stopping.store(true, Ordering::Relaxed);
        TcpStream::connect(self.address)?;
        let _ = self.thread.join();
        Ok(std::mem::take(&mut *self.received.lock().unwrap_or_else(PoisonError::into_inner)))
    }
}

/// Answers one connection's requests, each by 200 once it was read as what it says it is.
fn serve(stream: TcpStream, keep: &Mutex<Received>) -> anyhow::Result<()> {
    let mut answers = stream.try_clone()?;
    let mut requests = BufReader::new(stream);
    while let Some(body) = read_request(&mut requests)? {
        let answer = match take_in(&body, keep) {
            Ok(()) => "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}",
            Err(_) => "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n",
        };
        answers.write_all(answer.as_bytes())?;
    }
    Ok(())
}

fn read_request(requests: &mut impl BufRead) -> anyhow::Result<Option<Vec<u8>>> {
    let mut length = 0;
    let mut line = String::new();
    loop {
        line.clear();
        if requests.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        match line.trim_end().split_once(':') {
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                length = value.trim().parse()?
            }
            None if line.trim_end().is_empty() => break,
            _ => {}
        }
    }
    let mut body = vec![0; length];
    requests.read_exact(&mut body)?;
    Ok(Some(body))
}

/// Reads a gzipped OTLP request in JSON.
fn take_in(body: &[u8], keep: &Mutex<Received>) -> anyhow::Result<()> {
    let mut json = Vec::new();
    GzDecoder::new(body).read_to_end(&mut json)?;
    let request: Value = serde_json::from_slice(&json)?;
    let mut received = keep.lock().unwrap_or_else(PoisonError::into_inner);
    received.requests += 1;
    for resource in list(&request, "resourceLogs") {
        for scope in list(resource, "scopeLogs") {
            for record in list(scope, "logRecords") {
                let attributes = list(record, "attributes");
                let attribute = |key: &str| attributes.iter().find(|attribute| attribute["key"] == key);
                let id = attribute("log.record.uid").and_then(|id| id["value"]["stringValue"].as_str());
                let number = attribute("number").and_then(|number| number["value"]["intValue"].as_str());
                received.numbers.insert(number.context("an event has no number")?.parse()?);
                if !received.ids.insert(id.context("an event has no id")?.to_owned()) {
                    received.repeats += 1;
                }
            }
        }
    }
    Ok(())
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().map_or(&[], Vec::as_slice)
}
