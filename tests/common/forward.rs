//! Stands between a sender and a receiver: as a proxy, or as a line that goes dead in the middle.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

/// Passes on what comes, to one address whatever was asked for.
pub(crate) struct Forward {
    address: SocketAddr,
    line: Arc<Line>,
}

struct Line {
    to: SocketAddr,
    /// Whether it speaks as a proxy, to which a sender says CONNECT first.
    is_proxy: bool,
    /// What senders asked to be connected to.
    asked: Mutex<Vec<String>>,
    /// Bytes that still pass, from the sender and to it.
    left: [AtomicI64; 2],
    /// Connections that have gone dead.
    dead: AtomicUsize,
}

impl Forward {
    /// A line to a receiver.
    pub(crate) fn line(to: SocketAddr) -> Self {
        Self::start(to, false)
    }

    /// A proxy behind which every host is this receiver.
    pub(crate) fn proxy(to: SocketAddr) -> Self {
        Self::start(to, true)
    }

    fn start(to: SocketAddr, is_proxy: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let left = [i64::MAX, i64::MAX].map(AtomicI64::new);
        let (asked, dead) = (Mutex::default(), AtomicUsize::new(0));
        let line = Arc::new(Line { to, is_proxy, asked, left, dead });
        thread::spawn({
            let line = line.clone();
            move || {
                for stream in listener.incoming().map_while(Result::ok) {
                    let line = line.clone();
                    thread::spawn(move || line.serve(stream));
                }
            }
        });
        Self { address, line }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The hosts and ports that senders asked a proxy for.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.line.asked.lock().unwrap().clone()
    }

    /// Lets so many more bytes pass from the sender, and so many to it.
    pub(crate) fn pass(&self, from_sender: i64, to_sender: i64) {
        self.line.left[0].store(from_sender, Ordering::SeqCst);
        self.line.left[1].store(to_sender, Ordering::SeqCst);
    }

    /// How many connections have gone dead so far.
    pub(crate) fn dead(&self) -> usize {
        self.line.dead.load(Ordering::SeqCst)
    }
}

impl Line {
    fn serve(&self, mut sender: TcpStream) -> Option<()> {
        if self.is_proxy {
            let mut reader = BufReader::new(sender.try_clone().ok()?);
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") {
                if reader.read_line(&mut head).ok()? == 0 {
                    return None;
                }
            }
            let host = head.strip_prefix("CONNECT ")?.split(' ').next()?.to_owned();
            self.asked.lock().unwrap().push(host);
            sender.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").ok()?;
        }
        let receiver = TcpStream::connect(self.to).ok()?;
        thread::scope(|scope| {
            scope.spawn(|| self.pump(&sender, &receiver, 0));
            self.pump(&receiver, &sender, 1);
        });
        Some(())
    }

    fn pump(&self, mut from: &TcpStream, mut to: &TcpStream, way: usize) {
        let mut buffer = [0; 16 * 1024];
        let mut is_dead = false;
        while let Ok(read @ 1..) = from.read(&mut buffer) {
            let left = self.left[way].fetch_sub(read as i64, Ordering::SeqCst).max(0);
            let passing = read.min(left as usize);
            if passing < read && !std::mem::replace(&mut is_dead, true) {
                self.dead.fetch_add(1, Ordering::SeqCst);
            }
            if to.write_all(&buffer[..passing]).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Both);
    }
}
