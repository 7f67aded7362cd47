//! One POST and what came of it. The only place that names ureq.

mod endpoint;
mod proxy;
mod stages;
#[cfg(feature = "tls")]
mod tls;

use std::fmt;
use std::io::{self, ErrorKind, Read};
use std::mem;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ureq::config::Config;
use ureq::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use ureq::{Proxy, SendBody, Timeout};

pub(crate) use self::endpoint::Endpoint;
use self::proxy::proxy;
pub(crate) use self::stages::{Stage, Stages};
use super::answer::{Answer, NoAnswer, http_date, one_line, retry_after};
use crate::limits::{ANSWER_BODY_TIMEOUT, ANSWER_BYTES_MAX, CONNECT_TIMEOUT, REQUEST_TIMEOUT};
use crate::product::Network;
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
/// No redirect is followed: the events were meant for this receiver. Which proxy it goes by, see [`mod@proxy`].
pub(crate) struct Transport {
    endpoint: Endpoint,
    headers: HeaderMap,
    /// What each agent is made with.
    config: Config,
    /// The proxy that was named for this receiver, or `none`.
    proxy: Option<String>,
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
    /// packed: its value is not repeated. For a file of certificates that cannot be used, and for a proxy whose URL
    /// makes no sense.
    pub(crate) fn new(
        endpoint: &Endpoint,
        headers: Vec<(String, String)>,
        network: &Network,
    ) -> Result<Self> {
        let headers = headers.into_iter().map(header).collect::<Result<_>>()?;
        let proxy = network.proxy.clone();
        let config = ureq::Agent::config_builder()
            .user_agent(concat!("milepost/", env!("CARGO_PKG_VERSION")))
            // A status as an error would lose the headers, and `Retry-After` with them.
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .max_response_header_size(ANSWER_BYTES_MAX as usize)
            .timeout_global(Some(REQUEST_TIMEOUT))
            .timeout_resolve(Some(CONNECT_TIMEOUT))
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .timeout_send_request(Some(REQUEST_TIMEOUT))
            .timeout_send_body(Some(REQUEST_TIMEOUT))
            .timeout_recv_response(Some(REQUEST_TIMEOUT))
            .timeout_recv_body(Some(ANSWER_BODY_TIMEOUT))
            .max_idle_connections(1)
            .proxy(proxy_to(endpoint, proxy.as_deref())?);
        #[cfg(feature = "tls")]
        let config = config.tls_config(tls::config(network)?);
        #[cfg(not(feature = "tls"))]
        if network.ca_file.is_some() || network.client_certificate.is_some() {
            let why =
                "certificates are named, and this build has no TLS: build milepost with its feature `tls`";
            return Err(Error::invalid(why));
        }
        let config = config.build();
        let call = Mutex::new(Call::new(&config));
        Ok(Self { endpoint: endpoint.clone(), headers, config, proxy, call })
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

    /// Asks for what is at `url`, within `timeout`, as this receiver is reached. It carries nothing but the question,
    /// so that any host may be asked by plain HTTP.
    pub(crate) fn ask(&self, call: &Call, url: &str, timeout: Duration) -> Result<Answer, NoAnswer> {
        let failed = |err| if call.is_interrupted() { NoAnswer::Interrupted } else { no_answer(err) };
        let wrong = |err: Error| NoAnswer::Other(err.to_string());
        let asked = Endpoint::parse(url, true).map_err(wrong)?;
        // What was named for this receiver is none of a server's on this machine.
        let proxy = self.proxy.as_deref().filter(|_| !asked.is_loopback());
        let proxy = proxy_to(&asked, proxy).map_err(wrong)?;
        let request = call.agent.get(url).config().timeout_global(Some(timeout)).proxy(proxy).build();
        request.call().map_err(failed).map(read)
    }

    /// Sends a request, or without one asks for the head of what is there, by a connection of its own, and tells how it
    /// came about.
    pub(crate) fn probe(&self, what: Option<&Request<'_>>) -> (Stages, Result<Answer, NoAnswer>) {
        let watch = stages::Watch::default();
        let call = Call { agent: stages::watched_agent(&self.config, &watch), interrupted: Arc::default() };
        let outcome = match what {
            Some(request) => self.post(&call, request),
            None => {
                let headers = self.headers.iter();
                let request = headers.fold(call.agent.head(self.endpoint.uri()), |request, (name, value)| {
                    request.header(name, value)
                });
                request.call().map_err(no_answer).map(read)
            }
        };
        (watch.stages(), outcome)
    }

    /// Ends every request of the calls taken so far, within milliseconds where a connection stands. A name that
    /// is being resolved or a connection that is being made goes on until its own time-out, and then fails
    /// without a byte having been sent.
    pub(crate) fn interrupt(&self) {
        let next = Call::new(&self.config);
        let call = mem::replace(&mut *self.call.lock().unwrap_or_else(PoisonError::into_inner), next);
        call.interrupted.store(true, Ordering::Release);
        call.agent.shutdown();
    }
}

impl Call {
    fn new(config: &Config) -> Self {
        Self { agent: config.new_agent(), interrupted: Arc::default() }
    }

    pub(super) fn is_interrupted(&self) -> bool {
        self.interrupted.load(Ordering::Acquire)
    }
}

/// The proxy by which an endpoint is reached.
fn proxy_to(endpoint: &Endpoint, set: Option<&str>) -> Result<Option<Proxy>> {
    let variable = |name: &str| std::env::var(name).ok();
    let read = |url: String| {
        // Not the URL, which may hold a password.
        let wrong =
            |err| Error::invalid("the proxy's URL makes no sense: write http://HOST:PORT").with_source(err);
        Proxy::new(&url).map_err(wrong)
    };
    proxy(endpoint, set, variable).map(read).transpose()
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
        date: text(header::DATE).and_then(http_date),
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
        ureq::Error::Protocol(err) => NoAnswer::NotHttp(one_line(&err.to_string())),
        ureq::Error::LargeResponseHeader(..) => NoAnswer::NotHttp("its head has no end".to_owned()),
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
mod tests;
