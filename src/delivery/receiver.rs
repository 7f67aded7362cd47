//! A receiver for tests, on loopback, that answers as it was told: mostly badly.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;

/// Something that is done to a connection.
pub(super) type Does = fn(&mut TcpStream) -> io::Result<()>;

/// What is done with one request.
pub(super) enum Reply {
    Whole {
        status: u16,
        headers: String,
        body: Vec<u8>,
    },
    /// Reads the request and closes.
    Close,
    /// Reads the request and waits until the client has had enough.
    Never,
    /// 200 and a body without an end.
    Endless,
    /// 200, and half of the body that it promised.
    Torn,
    /// Reads the request and does as it is told, until the client has had enough.
    Does(Does),
}

pub(super) struct Request {
    pub(super) connection: usize,
    pub(super) head: String,
    pub(super) body: Vec<u8>,
}

/// Answers each request with the next reply, whichever connection it came by; without one left it closes.
pub(super) struct Receiver {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    replies: Mutex<std::collections::VecDeque<Reply>>,
    requests: Mutex<Vec<Arc<Request>>>,
    came: Condvar,
    ended: AtomicBool,
}

impl Reply {
    pub(super) fn new(status: u16, headers: &str, body: impl AsRef<[u8]>) -> Self {
        Self::Whole { status, headers: headers.to_owned(), body: body.as_ref().to_vec() }
    }

    pub(super) fn ok(body: &str) -> Self {
        Self::new(200, "Content-Type: application/json\r\n", body)
    }
}

impl Request {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }
}

impl Receiver {
    pub(super) fn start(replies: impl IntoIterator<Item = Reply>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared::default());
        shared.replies.lock().unwrap().extend(replies);
        let accepting = std::thread::spawn({
            let shared = shared.clone();
            move || accept(&listener, &shared)
        });
        Self { address, shared, accepting: Some(accepting) }
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// The requests that have come so far.
    pub(super) fn requests(&self) -> Vec<Arc<Request>> {
        self.shared.requests.lock().unwrap().clone()
    }

    /// Returns once a request is there as a whole.
    pub(super) fn wait_for_request(&self) {
        let requests = self.shared.requests.lock().unwrap();
        drop(self.shared.came.wait_while(requests, |requests| requests.is_empty()).unwrap());
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        // Wakes the accepting thread, which looks at the mark and ends.
        let _ = TcpStream::connect(self.address);
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    let mut open = Vec::new();
    for (connection, stream) in listener.incoming().enumerate() {
        let Ok(stream) = stream else { continue };
        if shared.ended.load(Ordering::SeqCst) {
            break;
        }
        let handle = stream.try_clone().unwrap();
        let shared = shared.clone();
        open.push((handle, std::thread::spawn(move || serve(connection, stream, &shared))));
    }
    for (stream, serving) in open {
        let _ = stream.shutdown(Shutdown::Both);
        let _ = serving.join();
    }
}

/// Serves one connection until either side has enough of it; `None` says that it was the client.
fn serve(connection: usize, mut stream: TcpStream, shared: &Shared) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    loop {
        let request = read(connection, &mut reader)?;
        // Before the request is seen: who waits for it may send the next one, which is not to get this reply.
        let reply = shared.replies.lock().unwrap().pop_front();
        shared.requests.lock().unwrap().push(Arc::new(request));
        shared.came.notify_all();
        match reply {
            Some(Reply::Whole { status, headers, body }) => {
                let head = format!("HTTP/1.1 {status} X\r\n{headers}Content-Length: {}\r\n\r\n", body.len());
                stream.write_all(head.as_bytes()).ok()?;
                stream.write_all(&body).ok()?;
            }
            Some(Reply::Never) => {
                // Ends with the connection, by the client's hand or by the receiver's end.
                let _ = reader.read(&mut [0]);
                return None;
            }
            Some(Reply::Endless) => {
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n").ok()?;
                loop {
                    stream.write_all(&[b' '; 4096]).ok()?;
                }
            }
            Some(Reply::Torn) => {
                let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 8\r\n\r\n";
                stream.write_all(head.as_bytes()).ok()?;
                stream.write_all(b"half").ok()?;
                return stream.shutdown(Shutdown::Both).ok();
            }
            Some(Reply::Does(what)) => {
                what(&mut stream).ok()?;
                let _ = reader.read(&mut [0]);
                return None;
            }
            Some(Reply::Close) | None => return stream.shutdown(Shutdown::Both).ok(),
        }
    }
}

fn read(connection: usize, reader: &mut impl BufRead) -> Option<Request> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    let mut request = Request { connection, head, body: Vec::new() };
    let length = request.header("content-length").map_or(0, |length| length.parse().unwrap());
    request.body.resize(length, 0);
    reader.read_exact(&mut request.body).ok()?;
    Some(request)
}
