//! An OTLP receiver on loopback that answers as it was told: mostly badly.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use flate2::read::GzDecoder;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use prost::Message;
use serde_json::Value;

/// What is done with a request.
#[derive(Debug, Clone)]
pub(crate) enum Reply {
    /// Is answered in full.
    Answer { status: u16, headers: String, body: String },
    /// Is read, and the connection closed: nobody knows whether it was stored.
    Close,
    /// Is answered by half a status line.
    Cut,
    /// Is answered by 200 and half of the body that was promised.
    Torn,
    /// Is answered by 200, but later.
    Slow(Duration),
    /// Is never answered.
    Never,
}

/// A request as it came.
#[derive(Debug, Clone, Default)]
pub(crate) struct Request {
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

/// An event as a receiver reads it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Event {
    /// The attribute `log.record.uid`.
    pub(crate) id: String,
    /// Where it was written: the journal, the place there, and how many events the journal held, if it says so.
    pub(crate) address: (String, u64, Option<u64>),
    pub(crate) name: String,
    /// Nanoseconds since the Unix epoch.
    pub(crate) time: u64,
    /// The other attributes.
    pub(crate) properties: BTreeMap<String, Value>,
    /// The attributes of the resource that it belongs to.
    pub(crate) resource: BTreeMap<String, Value>,
}

type Script = dyn Fn(&Request) -> Reply + Send + Sync;

pub(crate) struct Receiver {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

struct Shared {
    script: Box<Script>,
    /// Each request that was read, and whether it was answered by a 2xx.
    requests: Mutex<Vec<(Request, bool)>>,
    ended: AtomicBool,
}

impl Reply {
    pub(crate) fn new(status: u16, headers: &str, body: &str) -> Self {
        Self::Answer { status, headers: headers.into(), body: body.into() }
    }

    /// What Rotel answers.
    pub(crate) fn ok() -> Self {
        Self::new(200, "", "")
    }
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// The body, unpacked.
    pub(crate) fn content(&self) -> Vec<u8> {
        if self.header("content-encoding") != Some("gzip") {
            return self.body.clone();
        }
        let mut content = Vec::new();
        GzDecoder::new(&self.body[..]).read_to_end(&mut content).unwrap();
        content
    }

    /// What is in it, read by the types of the OpenTelemetry project.
    pub(crate) fn events(&self) -> Vec<Event> {
        let content = self.content();
        let request: ExportLogsServiceRequest = match self.header("content-type") {
            Some("application/x-protobuf") => Message::decode(&content[..]).unwrap(),
            Some("application/json") => serde_json::from_slice(&content).unwrap(),
            other => panic!("a request of the type {other:?}"),
        };
        let mut events = Vec::new();
        for resource in request.resource_logs {
            let about = attributes(resource.resource.unwrap().attributes);
            for record in resource.scope_logs.into_iter().flat_map(|scope| scope.log_records) {
                assert_eq!(record.time_unix_nano, record.observed_time_unix_nano);
                let mut properties = attributes(record.attributes);
                let id = properties.remove("log.record.uid").expect("an event has an id");
                let [journal, index] = ["milepost.journal", "milepost.index"]
                    .map(|key| properties.remove(key).expect("an event has an address"));
                let count = properties.remove("milepost.count").and_then(|count| count.as_u64());
                events.push(Event {
                    id: id.as_str().unwrap().into(),
                    address: (journal.as_str().unwrap().into(), index.as_u64().unwrap(), count),
                    name: record.event_name,
                    time: record.time_unix_nano,
                    properties,
                    resource: about.clone(),
                });
            }
        }
        events
    }

    /// The property `number` of each event.
    pub(crate) fn numbers(&self) -> Vec<u64> {
        self.events().iter().map(|event| event.properties["number"].as_u64().unwrap()).collect()
    }
}

impl Receiver {
    /// Listens at once, and takes everything.
    pub(crate) fn good() -> Self {
        Self::start(|_| Reply::ok())
    }

    /// Listens at once, refuses an event with this number for good, and takes all others.
    pub(crate) fn refusing(number: u64) -> Self {
        Self::start(move |request| {
            let is_bad = |event: &Event| event.properties.get("number") == Some(&number.into());
            if request.events().iter().any(is_bad) { Reply::new(400, "", "no") } else { Reply::ok() }
        })
    }

    /// Listens at once, and answers by the script.
    pub(crate) fn start(script: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        Self::listen(TcpListener::bind("127.0.0.1:0").unwrap(), Box::new(script))
    }

    /// Answers each request with the next of these, and takes everything afterwards.
    pub(crate) fn replying(replies: impl IntoIterator<Item = Reply>) -> Self {
        let replies = Mutex::new(replies.into_iter().collect::<Vec<_>>().into_iter());
        Self::start(move |_| replies.lock().unwrap().next().unwrap_or_else(Reply::ok))
    }

    /// Comes up where [`nobody_listens`] was true until now, and takes everything.
    pub(crate) fn come_up(address: SocketAddr) -> Self {
        Self::listen(TcpListener::bind(address).unwrap(), Box::new(|_| Reply::ok()))
    }

    fn listen(listener: TcpListener, script: Box<Script>) -> Self {
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared { script, requests: Mutex::default(), ended: AtomicBool::new(false) });
        let serving = shared.clone();
        let accepting = thread::spawn(move || {
            for stream in listener.incoming() {
                if serving.ended.load(Ordering::SeqCst) {
                    return;
                }
                let shared = serving.clone();
                // Each connection ends with its client.
                thread::spawn(move || stream.map(|stream| serve(stream, &shared)));
            }
        });
        Self { address, shared, accepting: Some(accepting) }
    }

    pub(crate) fn url(&self) -> String {
        url(self.address)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The requests that have come so far as a whole.
    pub(crate) fn requests(&self) -> Vec<Request> {
        self.shared.requests.lock().unwrap().iter().map(|(request, _)| request.clone()).collect()
    }

    /// The events of all requests that were answered by a 2xx.
    pub(crate) fn taken(&self) -> Vec<Event> {
        let requests = self.shared.requests.lock().unwrap();
        requests.iter().filter(|(_, taken)| *taken).flat_map(|(request, _)| request.events()).collect()
    }

    /// The ids of [`Receiver::taken`]; none of them may have come twice.
    pub(crate) fn taken_once(&self) -> BTreeSet<String> {
        let taken = self.taken();
        let ids: BTreeSet<_> = taken.iter().map(|event| event.id.clone()).collect();
        assert_eq!(ids.len(), taken.len(), "an event was delivered twice");
        ids
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        // Wakes the accepting thread, which looks at the mark and ends. One whose address is gone ends with the test.
        let woken = TcpStream::connect(self.address).is_ok();
        if let Some(accepting) = self.accepting.take().filter(|_| woken) {
            let _ = accepting.join();
        }
    }
}

/// An address that was free a moment ago.
pub(crate) fn nobody_listens() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

pub(crate) fn url(address: SocketAddr) -> String {
    format!("http://{address}/v1/logs")
}

/// Serves one connection until either side has enough of it; `None` says that it was the client.
fn serve(mut stream: TcpStream, shared: &Shared) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    loop {
        let request = read(&mut reader)?;
        let reply = (shared.script)(&request);
        let taken = match &reply {
            Reply::Answer { status, .. } => (200..300).contains(status),
            Reply::Torn | Reply::Slow(_) => true,
            Reply::Close | Reply::Cut | Reply::Never => false,
        };
        shared.requests.lock().unwrap().push((request, taken));
        match reply {
            Reply::Answer { status, headers, body } => answer(&mut stream, status, &headers, &body)?,
            Reply::Slow(wait) => {
                thread::sleep(wait);
                answer(&mut stream, 200, "", "")?;
            }
            Reply::Torn => {
                let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 8\r\n\r\n{";
                stream.write_all(head.as_bytes()).ok()?;
                return stream.shutdown(Shutdown::Both).ok();
            }
            Reply::Cut => {
                stream.write_all(b"HTTP/1.1 20").ok()?;
                return stream.shutdown(Shutdown::Both).ok();
            }
            Reply::Close => return stream.shutdown(Shutdown::Both).ok(),
            Reply::Never => {
                // Ends with the connection, by the client's hand.
                let _ = reader.read(&mut [0]);
                return None;
            }
        }
    }
}

fn answer(stream: &mut TcpStream, status: u16, headers: &str, body: &str) -> Option<()> {
    let head = format!("HTTP/1.1 {status} X\r\n{headers}Content-Length: {}\r\n\r\n{body}", body.len());
    stream.write_all(head.as_bytes()).ok()
}

fn read(reader: &mut impl BufRead) -> Option<Request> {
    let mut request = Request::default();
    while !request.head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut request.head).ok()? == 0 {
            return None;
        }
    }
    let length = request.header("content-length").map_or(0, |length| length.parse().unwrap());
    request.body.resize(length, 0);
    reader.read_exact(&mut request.body).ok()?;
    Some(request)
}

fn attributes(list: Vec<KeyValue>) -> BTreeMap<String, Value> {
    let value = |any: Any| match any {
        Any::StringValue(text) => Value::from(text),
        Any::BoolValue(flag) => Value::from(flag),
        Any::IntValue(number) => Value::from(number),
        Any::DoubleValue(number) => Value::from(number),
        other => panic!("no event has such a value: {other:?}"),
    };
    let length = list.len();
    let map: BTreeMap<_, _> =
        list.into_iter().map(|pair| (pair.key, value(pair.value.unwrap().value.unwrap()))).collect();
    assert_eq!(map.len(), length, "a key stands there twice");
    map
}
