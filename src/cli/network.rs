//! How a receiver is reached, as flags.

use std::path::PathBuf;

use clap::Args;
use milepost::Network;

#[derive(Args)]
pub(super) struct NetworkArgs {
    /// Certificates in PEM, of which one has to vouch for the receiver; nobody else's counts
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// A certificate in PEM by which the receiver knows who sends
    #[arg(long, value_name = "FILE")]
    client_certificate: Option<PathBuf>,
    /// Its private key in PEM. Defaults to the file of the certificate
    #[arg(long, value_name = "FILE", requires = "client_certificate")]
    client_key: Option<PathBuf>,
    /// The proxy. Defaults to HTTPS_PROXY, HTTP_PROXY and ALL_PROXY, but for a receiver on this machine; hosts of
    /// NO_PROXY are reached without one
    #[arg(long, value_name = "URL|none")]
    proxy: Option<String>,
    /// Pack no request, in no format
    #[arg(long)]
    no_gzip: bool,
}

impl NetworkArgs {
    pub(super) fn network(&self) -> Network {
        let mut network = Network::new();
        if let Some(path) = &self.ca_file {
            network = network.ca_file(path);
        }
        if let Some(path) = &self.client_certificate {
            network = network.client_certificate(path);
        }
        if let Some(path) = &self.client_key {
            network = network.client_key(path);
        }
        if let Some(url) = &self.proxy {
            network = network.proxy(url);
        }
        if self.no_gzip { network.gzip(false) } else { network }
    }
}
