//! One POST and what came of it. The only place that names ureq.

use std::fmt;
use std::io::{self, ErrorKind, Read};
use std::mem;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

pub(super) use ureq::http::Uri;
use ureq::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use ureq::{SendBody, Timeout};

use super::answer::{Answer, NoAnswer, one_line, retry_after};
use super::endpoint::Endpoint;
use crate::limits::{ANSWER_BODY_TIMEOUT, ANSWER_BYTES_MAX, CONNECT_TIMEOUT, REQUEST_TIMEOUT};
use crate::{Error, Result, clock};

/// Headers that say how the body is packed. They are this module's to set.
const OWN_HEADERS: [HeaderName; 6] = [
    header::CONTENT_TYPE,
    header::CONTENT_ENCODING,
    header::CONTENT_LENGTH,
    header::TRANSFER_ENCODING,
    header::CONNECTION,
    header::EXPECT,
];

/// The way to one receiver: its endpoint, the headers it wants, a connection that is kept open.
///
/// No redirect is followed: the events were meant for this receiver. Proxies are those of the environment
/// (`ALL_PROXY`, `HTTPS_PROXY`, `HTTP_PROXY`, `NO_PROXY`), never for an endpoint on this machine.
pub(crate) struct Transport {
    endpoint: Endpoint,
    headers: HeaderMap,
    /// The calls from now on. An interrupt puts another one here.
    call: Mutex<Call>,
}

/// The requests between two interrupts. Whoever took it before an interrupt is ended by it, even when the
/// request had not begun.
#[derive(Clone)]
pub(crate) struct Call {
    /// ureq's own: good for nothing once it was shut down.
    agent: ureq::Agent,
    interrupted: Arc<AtomicBool>,
}

/// What is posted.
pub(crate) struct Request<'a> {
    pub(crate) body: &'a [u8],
    pub(crate) content_type: &'a str,
    /// Whether `body` is packed.
    pub(crate) gzip: bool,
    /// Headers of this request alone.
    pub(crate) headers: &'a [(&'static str, String)],
    /// For the request as a whole.
    pub(crate) timeout: Duration,
    /// Asked as the body is handed to the kernel: by saying no it ends the request. From its last word to the bytes on
    /// their way it is some microseconds.
    pub(crate) may: &'a dyn Fn() -> bool,
}

impl Transport {
    /// # Errors
    ///
    /// [`crate::ErrorKind::Invalid`] for a header that HTTP has no place for, or that says how the body is
    /// packed. Its value is not repeated.
    pub(crate) fn new(endpoint: &Endpoint, headers: Vec<(String, String)>) -> Result<Self> {
        let headers = headers.into_iter().map(header).collect::<Result<_>>()?;
        let call = Mutex::new(Call::new(endpoint));
        Ok(Self { endpoint: endpoint.clone(), headers, call })
    }

    /// A place among the calls that the next [`Transport::interrupt`] ends.
    pub(crate) fn call(&self) -> Call {
        self.call.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Sends a request and waits at most its time for all of it: name, connection, request, answer.
    ///
    /// There is an answer as soon as its head is there; a body that then fails to arrive is cut short.
    pub(crate) fn post(&self, call: &Call, what: &Request<'_>) -> Result<Answer, NoAnswer> {
        let failed = |err| if call.is_interrupted() { NoAnswer::Interrupted } else { no_answer(err) };
        let timeout = Some(what.timeout);
        let request = call.agent.post(self.endpoint.uri()).config().timeout_global(timeout).build();
        let request = request.header(header::CONTENT_TYPE, what.content_type);
        let mut request = request.header(header::CONTENT_LENGTH, what.body.len().to_string());
        if what.gzip {
            request = request.header(header::CONTENT_ENCODING, "gzip");
        }
        for (name, value) in what.headers {
            request = request.header(*name, value);
        }
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        let mut body = Body { left: what.body, may: what.may };
        Ok(read(request.send(SendBody::from_reader(&mut body)).map_err(failed)?))
    }

    /// Asks for what is at `url`, within `timeout`. It carries nothing but the question, so that any host may be
    /// asked by plain HTTP, and a proxy never is where it is this machine.
    pub(crate) fn ask(&self, call: &Call, url: &str, timeout: Duration) -> Result<Answer, NoAnswer> {
        let failed = |err| if call.is_interrupted() { NoAnswer::Interrupted } else { no_answer(err) };
        let is_near = Endpoint::parse(url, true).is_ok_and(|endpoint| endpoint.is_loopback());
        let request = call.agent.get(url).config().timeout_global(Some(timeout));
        let request = if is_near { request.proxy(None) } else { request }.build();
        request.call().map_err(failed).map(read)
    }

    /// Ends every request of the calls taken so far, within milliseconds where a connection stands. A name that
    /// is being resolved or a connection that is being made goes on until its own time-out, and then fails
    /// without a byte having been sent.
    pub(crate) fn interrupt(&self) {
        let next = Call::new(&self.endpoint);
        let call = mem::replace(&mut *self.call.lock().unwrap_or_else(PoisonError::into_inner), next);
        call.interrupted.store(true, Ordering::Release);
        call.agent.shutdown();
    }
}

impl Call {
    fn new(endpoint: &Endpoint) -> Self {
        let mut config = ureq::Agent::config_builder()
            .user_agent(concat!("milepost/", env!("CARGO_PKG_VERSION")))
            // A status as an error would lose the headers, and `Retry-After` with them.
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_global(Some(REQUEST_TIMEOUT))
            .timeout_resolve(Some(CONNECT_TIMEOUT))
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .timeout_send_request(Some(REQUEST_TIMEOUT))
            .timeout_send_body(Some(REQUEST_TIMEOUT))
            .timeout_recv_response(Some(REQUEST_TIMEOUT))
            .timeout_recv_body(Some(ANSWER_BODY_TIMEOUT))
            .max_idle_connections(1);
        if endpoint.is_loopback() {
            config = config.proxy(None);
        }
        Self { agent: config.build().new_agent(), interrupted: Arc::default() }
    }

    pub(super) fn is_interrupted(&self) -> bool {
        self.interrupted.load(Ordering::Acquire)
    }
}

/// The body of a request, which ends in an error where it may not be sent any more.
struct Body<'a> {
    left: &'a [u8],
    may: &'a dyn Fn() -> bool,
}

impl Read for Body<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if !self.left.is_empty() && !(self.may)() {
            return Err(io::Error::other("somebody said meanwhile that nothing is to be sent"));
        }
        self.left.read(buffer)
    }
}

/// Reads an answer. A body that fails to arrive is cut short.
fn read(response: ureq::http::Response<ureq::Body>) -> Answer {
    let (head, rest) = response.into_parts();
    let text = |name| head.headers.get(name).and_then(|value| value.to_str().ok());
    let mut answer = Answer {
        status: head.status.as_u16(),
        content_type: text(header::CONTENT_TYPE).map(str::to_owned),
        retry_after: text(header::RETRY_AFTER)
            .and_then(|value| retry_after(value, text(header::DATE), clock::wall_micros())),
        location: text(header::LOCATION).map(str::to_owned),
        body: Vec::new(),
    };
    if let Err(err) = rest.into_reader().take(ANSWER_BYTES_MAX).read_to_end(&mut answer.body) {
        log::debug!("the body of an answer {} was cut short: {err}", answer.status);
    }
    answer
}

fn header((name, value): (String, String)) -> Result<(HeaderName, HeaderValue)> {
    let name: HeaderName = name.trim().parse().map_err(|err| {
        Error::invalid(format!("{:?} cannot be a header's name", one_line(&name))).with_source(err)
    })?;
    if OWN_HEADERS.contains(&name) {
        return Err(Error::invalid(format!("the header {name} follows from the format: leave it out")));
    }
    let mut value: HeaderValue = value.trim().parse().map_err(|err| {
        Error::invalid(format!("the value of the header {name} has characters that HTTP forbids"))
            .with_source(err)
    })?;
    value.set_sensitive(true);
    Ok((name, value))
}

fn no_answer(err: ureq::Error) -> NoAnswer {
    match err {
        ureq::Error::HostNotFound => NoAnswer::NoSuchHost,
        ureq::Error::Timeout(timeout) => NoAnswer::TimedOut(match timeout {
            Timeout::Resolve => "looking up the host's name",
            Timeout::Connect => "connecting",
            Timeout::SendRequest | Timeout::SendBody => "sending",
            Timeout::RecvResponse => "the answer",
            _ => "the request",
        }),
        ureq::Error::Tls(what) => NoAnswer::Tls(what.to_owned()),
        #[cfg(feature = "tls")]
        ureq::Error::Rustls(err) => NoAnswer::Tls(err.to_string()),
        ureq::Error::ConnectProxyFailed(what) => NoAnswer::Proxy(one_line(&what)),
        ureq::Error::InvalidProxyUrl => NoAnswer::Proxy("its URL makes no sense".to_owned()),
        ureq::Error::Io(err) => match err.kind() {
            ErrorKind::ConnectionRefused => NoAnswer::Refused,
            ErrorKind::NetworkUnreachable | ErrorKind::HostUnreachable | ErrorKind::NetworkDown => {
                NoAnswer::NoRoute
            }
            ErrorKind::UnexpectedEof
            | ErrorKind::ConnectionReset
            | ErrorKind::ConnectionAborted
            | ErrorKind::BrokenPipe => NoAnswer::Closed,
            ErrorKind::TimedOut | ErrorKind::WouldBlock => NoAnswer::TimedOut("the request"),
            // What rustls makes of a certificate that it does not trust.
            ErrorKind::InvalidData => NoAnswer::Tls(err.to_string()),
            // The standard library has no kind for a failed lookup, only these words.
            _ if err.to_string().starts_with("failed to lookup address") => NoAnswer::NoSuchHost,
            _ => NoAnswer::Other(err.to_string()),
        },
        // ureq's own words would repeat the URL with its query.
        ureq::Error::BadUri(_) => NoAnswer::Other("the endpoint's URL cannot be requested".to_owned()),
        err => NoAnswer::Other(one_line(&err.to_string())),
    }
}

/// Names of headers, never their values.
impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transport").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::delivery::receiver::{Receiver, Reply};

    /// Long enough that no test passes because it ran out.
    const LONG: Duration = Duration::from_secs(60);

    fn transport(receiver: &Receiver) -> Transport {
        let endpoint = Endpoint::parse(&receiver.url("/v1/logs?key=s3cret"), false).unwrap();
        Transport::new(&endpoint, vec![("X-Api-Key".into(), "s3cret".into())]).unwrap()
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
        assert!(
            requests[0].head.starts_with("POST /v1/logs?key=s3cret HTTP/1.1\r\n"),
            "{}",
            requests[0].head
        );
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
        for (name, value) in [("bad name", "v"), ("x-key", "s3cret\r\nx: y"), ("Content-Type", "text/plain")]
        {
            let err = Transport::new(&endpoint, vec![(name.into(), value.into())]).unwrap_err();
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
        assert_eq!(post(&Transport::new(&down, Vec::new()).unwrap()).unwrap_err(), NoAnswer::Refused);
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
}
