//! One request after the other, to receivers that mostly behave badly.

use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::time::Instant;

use super::*;
use crate::delivery::receiver::{Does, Receiver, Reply};

/// Long enough that no test passes because it ran out.
const LONG: Duration = Duration::from_secs(60);

fn transport(receiver: &Receiver) -> Transport {
    let endpoint = Endpoint::parse(&receiver.url("/v1/logs?key=s3cret"), false).unwrap();
    Transport::new(&endpoint, vec![("X-Api-Key".into(), "s3cret".into())], &Network::new()).unwrap()
}

fn request(timeout: Duration) -> Request<'static> {
    Request {
        body: b"body",
        content_type: "application/json",
        gzip: false,
        headers: &[],
        timeout,
        may: &|| true,
    }
}

fn post(transport: &Transport) -> Result<Answer, NoAnswer> {
    transport.post(&transport.call(), &request(LONG))
}

#[test]
fn a_request_is_bare_and_its_connection_is_kept() {
    let receiver = Receiver::start([Reply::ok(""), Reply::ok("{}")]);
    let transport = transport(&receiver);
    assert_eq!(post(&transport).unwrap().status, 200);
    let headers = [("idempotency-key", "7".to_owned())];
    let packed = Request { gzip: true, headers: &headers, ..request(LONG) };
    let answer = transport.post(&transport.call(), &packed).unwrap();
    assert_eq!(answer.body, b"{}");

    let requests = receiver.requests();
    assert_eq!(requests.len(), 2);
    assert_eq!(requests[0].connection, requests[1].connection);
    assert!(requests[0].head.starts_with("POST /v1/logs?key=s3cret HTTP/1.1\r\n"), "{}", requests[0].head);
    assert_eq!(requests[0].body, b"body");
    assert_eq!(requests[0].header("content-type"), Some("application/json"));
    assert_eq!(requests[0].header("content-encoding"), None);
    assert_eq!(requests[0].header("x-api-key"), Some("s3cret"));
    assert_eq!(requests[0].header("user-agent"), Some(concat!("milepost/", env!("CARGO_PKG_VERSION"))));
    assert_eq!(requests[1].header("content-encoding"), Some("gzip"));
    let keys = [0, 1].map(|number: usize| requests[number].header("idempotency-key"));
    assert_eq!(keys, [None, Some("7")]);
}

#[test]
fn nothing_prints_a_key() {
    let receiver = Receiver::start([]);
    assert!(!format!("{:?}", transport(&receiver)).contains("s3cret"));
    let endpoint = Endpoint::parse(&receiver.url("/"), false).unwrap();
    for (name, value) in [("bad name", "v"), ("x-key", "s3cret\r\nx: y"), ("Content-Type", "text/plain")] {
        let err = Transport::new(&endpoint, vec![(name.into(), value.into())], &Network::new()).unwrap_err();
        assert!(!format!("{err} {err:?}").contains("s3cret"), "{err:?}");
    }
}

#[test]
fn headers_of_an_answer_are_read() {
    let receiver = Receiver::start([
        Reply::new(429, "Retry-After: 7\r\n", ""),
        Reply::new(
            503,
            "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\nRetry-After: Sun, 06 Nov 1994 08:50:37 GMT\r\n",
            "",
        ),
        Reply::new(302, "Location: https://login.example.com/\r\n", ""),
    ]);
    let transport = transport(&receiver);
    let answers = [(); 3].map(|()| post(&transport).unwrap());
    assert_eq!(answers[0].retry_after, Some(Duration::from_secs(7)));
    assert_eq!(answers[1].retry_after, Some(Duration::from_secs(60)));
    assert_eq!(answers[2].status, 302);
    assert_eq!(answers[2].location.as_deref(), Some("https://login.example.com/"));
    assert_eq!(receiver.requests().len(), 3, "no redirect was followed");
}

#[test]
fn a_receiver_that_does_not_answer_is_named() {
    let receiver = Receiver::start([Reply::Close, Reply::Never]);
    let transport = transport(&receiver);
    assert_eq!(post(&transport).unwrap_err(), NoAnswer::Closed);
    let short = Duration::from_millis(50);
    let silent = transport.post(&transport.call(), &request(short)).unwrap_err();
    assert!(matches!(silent, NoAnswer::TimedOut(_)), "{silent:?}");
    // A port that only a system's service could listen at, so that no other test gets it meanwhile.
    let down = Endpoint::parse("http://127.0.0.1:1/", false).unwrap();
    assert_eq!(
        post(&Transport::new(&down, Vec::new(), &Network::new()).unwrap()).unwrap_err(),
        NoAnswer::Refused
    );
}

#[test]
fn a_body_is_read_to_its_limit_and_a_torn_one_still_is_an_answer() {
    let receiver = Receiver::start([Reply::Endless, Reply::Torn]);
    let transport = transport(&receiver);
    assert_eq!(post(&transport).unwrap().body.len() as u64, ANSWER_BYTES_MAX);
    let torn = post(&transport).unwrap();
    assert_eq!((torn.status, &torn.body[..]), (200, &b"half"[..]));
}

#[test]
fn an_interrupt_ends_what_was_begun_and_nothing_later() {
    let receiver = Receiver::start([Reply::Never, Reply::ok("")]);
    let transport = transport(&receiver);
    let early = transport.call();
    std::thread::scope(|scope| {
        let ended = scope.spawn(|| post(&transport));
        receiver.wait_for_request();
        let start = Instant::now();
        transport.interrupt();
        assert_eq!(ended.join().unwrap().unwrap_err(), NoAnswer::Interrupted);
        assert!(start.elapsed() < LONG / 2);
    });
    let late = transport.post(&early, &request(LONG));
    assert_eq!(late.unwrap_err(), NoAnswer::Interrupted);
    assert_eq!(post(&transport).unwrap().status, 200);
}

/// A byte now and then, for ever.
fn trickle(stream: &mut TcpStream) -> io::Result<()> {
    loop {
        stream.write_all(b"x")?;
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn an_answer_that_does_not_come_to_its_head_costs_one_time_out() {
    let strange: [(&str, Does); 5] = [
        ("took too long", |_| Ok(())),
        ("took too long", trickle_head),
        ("took too long", |stream| stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Le")),
        ("does not speak HTTP", |stream| stream.write_all(b"SSH-2.0-OpenSSH_9.2\r\n\r\n\0\x01\xff")),
        ("does not speak HTTP", |stream| {
            stream.write_all(b"HTTP/1.1 200 OK\r\n")?;
            loop {
                stream.write_all(b"X-More: and more and more and more\r\n")?;
            }
        }),
    ];
    fn trickle_head(stream: &mut TcpStream) -> io::Result<()> {
        stream.write_all(b"HTTP/1.1 200 OK\r\nX-More: ")?;
        trickle(stream)
    }
    let receiver = Receiver::start(strange.map(|(_, does)| Reply::Does(does)));
    let transport = transport(&receiver);
    for (says, _) in strange {
        let outcome = transport.post(&transport.call(), &request(Duration::from_millis(300)));
        let why = outcome.unwrap_err().to_string();
        assert!(why.contains(says), "{why}");
    }
    assert_eq!(receiver.requests().len(), 5);
}

#[test]
fn a_body_that_does_not_come_to_its_end_changes_nothing() {
    let strange: [Does; 3] = [
        |stream| stream.write_all(b"HTTP/1.1 429 X\r\nRetry-After: 7\r\nContent-Length: 9\r\n\r\nhalf"),
        |stream| {
            stream.write_all(b"HTTP/1.1 429 X\r\nRetry-After: 7\r\n\r\n")?;
            trickle(stream)
        },
        |stream| {
            stream.write_all(b"HTTP/1.1 429 X\r\nRetry-After: 7\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n")
        },
    ];
    let receiver = Receiver::start(strange.map(Reply::Does));
    let transport = transport(&receiver);
    for _ in strange {
        let answer = transport.post(&transport.call(), &request(Duration::from_millis(300))).unwrap();
        assert_eq!((answer.status, answer.retry_after), (429, Some(Duration::from_secs(7))));
    }
}

#[test]
fn who_takes_nothing_or_never_says_a_word_of_tls_costs_one_time_out() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let short = Duration::from_millis(300);
    let post = |url: String, body: &[u8]| {
        let transport =
            Transport::new(&Endpoint::parse(&url, false).unwrap(), Vec::new(), &Network::new()).unwrap();
        transport.post(&transport.call(), &Request { body, ..request(short) }).unwrap_err().to_string()
    };
    // More than the kernel keeps for somebody who does not read.
    let why = post(format!("http://{address}/"), &vec![0; 64 << 20]);
    assert!(why.contains("took too long"), "{why}");
    #[cfg(feature = "tls")]
    {
        let why = post(format!("https://{address}/"), b"body");
        assert!(why.contains("took too long"), "{why}");
    }
}
