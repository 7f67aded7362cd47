//! The one error of the public API.

use std::fmt;
use std::path::Path;

/// What went wrong, in words that name the thing and what to do, with the cause kept as `source()`.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    message: String,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// What sort of thing went wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A setting, a product file or an argument is wrong. Nothing was written.
    Invalid,
    /// A file or directory could not be read or written. What was durable before still is.
    Io,
    /// What a file holds is not what it should hold. Everything that is whole is kept.
    Corrupt,
    /// Another process holds the spool and did not hand it over in time.
    Locked,
    /// The time-out passed first. Nothing is lost; the work goes on or is repeated.
    Timeout,
    /// Nothing is collected, by somebody's word or by the environment.
    Refused,
    /// The client was shut down.
    Closed,
    /// This process is a fork's child of the one that made the client: it has none of its threads. Build another.
    Forked,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), source: None }
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Invalid, message)
    }

    pub(crate) fn io(operation: &str, path: &Path, source: std::io::Error) -> Self {
        Self::new(ErrorKind::Io, format!("cannot {operation} {}", path.display())).with_source(source)
    }

    /// Says more behind what it says already.
    pub(crate) fn with_remark(mut self, remark: &str) -> Self {
        self.message = format!("{}; {remark}", self.message);
        self
    }

    pub(crate) fn with_source(mut self, source: impl std::error::Error + Send + Sync + 'static) -> Self {
        self.source = Some(Box::new(source));
        self
    }

    /// What sort of thing went wrong.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Whether another process holds the spool and did not hand it over in time.
    pub fn is_locked(&self) -> bool {
        self.kind == ErrorKind::Locked
    }

    /// Whether the time-out passed first.
    pub fn is_timeout(&self) -> bool {
        self.kind == ErrorKind::Timeout
    }

    /// Whether the client is the parent's of a process that was forked.
    pub fn is_forked(&self) -> bool {
        self.kind == ErrorKind::Forked
    }

    /// Whether nothing is collected here.
    pub fn is_refused(&self) -> bool {
        self.kind == ErrorKind::Refused
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

/// A result with milepost's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;
