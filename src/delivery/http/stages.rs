//! A connection whose stages are timed, made in the way in which all others are.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
#[cfg(feature = "tls")]
use ureq::unversioned::transport::RustlsConnector;
use ureq::unversioned::transport::{
    ConnectProxyConnector, ConnectionDetails, Connector, NextTimeout, TcpConnector, Transport,
};

use crate::clock;

/// What is over once a connection stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    Resolved,
    Connected,
    Secured,
}

/// When each stage was over, and where the name led.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stages {
    pub(crate) over: Vec<(Stage, Instant)>,
    pub(crate) addresses: Vec<SocketAddr>,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Watch(Arc<Mutex<Stages>>);

impl Watch {
    pub(super) fn stages(&self) -> Stages {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn note(&self, stage: Stage, addresses: &[SocketAddr]) {
        let mut stages = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        stages.over.push((stage, clock::monotonic()));
        stages.addresses.extend(addresses);
    }
}

/// An agent that notes the stages of the connections that it makes.
pub(super) fn watched_agent(config: &Config, watch: &Watch) -> ureq::Agent {
    let note = |stage| Note { stage, watch: watch.clone() };
    let connector = ().chain(ConnectProxyConnector::default()).chain(TcpConnector::default());
    let connector = connector.chain(note(Stage::Connected));
    #[cfg(feature = "tls")]
    let connector = connector.chain(RustlsConnector::default()).chain(note(Stage::Secured));
    let resolver = Noted { resolver: DefaultResolver::default(), watch: watch.clone() };
    ureq::Agent::with_parts(config.clone(), connector, resolver)
}

#[derive(Debug)]
struct Noted {
    resolver: DefaultResolver,
    watch: Watch,
}

impl Resolver for Noted {
    fn resolve(
        &self,
        uri: &Uri,
        config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let addresses = self.resolver.resolve(uri, config, timeout)?;
        self.watch.note(Stage::Resolved, &addresses);
        Ok(addresses)
    }
}

/// Stands behind a connector, and notes that it has done its part.
#[derive(Debug)]
struct Note {
    stage: Stage,
    watch: Watch,
}

impl<In: Transport> Connector<In> for Note {
    type Out = In;

    fn connect(&self, _: &ConnectionDetails, made: Option<In>) -> Result<Option<In>, ureq::Error> {
        if made.as_ref().is_some_and(|made| self.stage != Stage::Secured || made.is_tls()) {
            self.watch.note(self.stage, &[]);
        }
        Ok(made)
    }
}
