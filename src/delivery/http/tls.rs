//! Whose certificates count, and which one we show.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use ureq::tls::{Certificate, ClientCert, PemItem, PrivateKey, RootCerts, TlsConfig, parse_pem};

use crate::limits::CERTIFICATES_BYTES_MAX;
use crate::product::Network;
use crate::{Error, Result};

/// # Errors
///
/// Names the file that cannot be used.
pub(super) fn config(network: &Network) -> Result<TlsConfig> {
    let roots = match &network.ca_file {
        Some(path) => RootCerts::new_with_certs(&certificates(path, &read(path)?)?),
        None if cfg!(feature = "platform-verifier") => RootCerts::PlatformVerifier,
        None => RootCerts::WebPki,
    };
    let client = network.client_certificate.as_deref();
    let client = client.map(|path| client_certificate(path, network.client_key.as_deref())).transpose()?;
    Ok(TlsConfig::builder().root_certs(roots).client_cert(client).build())
}

fn client_certificate(path: &Path, key: Option<&Path>) -> Result<ClientCert> {
    let pem = read(path)?;
    let chain = certificates(path, &pem)?;
    let (key_path, key_pem) = match key {
        Some(path) => (path, read(path)?),
        None => (path, pem),
    };
    let key = PrivateKey::from_pem(&key_pem)
        .map_err(|err| unusable(key_path, "no private key in PEM").with_source(err))?;
    // ureq would panic at the first connection.
    let provider = CryptoProvider::get_default().cloned();
    let provider = provider.unwrap_or_else(|| Arc::new(ring::default_provider()));
    let wrong = |words| move |err| unusable(key_path, words).with_source(err);
    let der = PrivateKeyDer::try_from(key.der().to_vec())
        .map_err(|_| unusable(key_path, "no private key of a known kind"))?;
    let ders = chain.iter().map(|found| CertificateDer::from(found.der().to_vec())).collect();
    CertifiedKey::from_der(ders, der, &provider)
        .map_err(wrong("no private key that belongs to the client's certificate"))?;
    Ok(ClientCert::new_with_certs(&chain, key))
}

fn certificates(path: &Path, pem: &[u8]) -> Result<Vec<Certificate<'static>>> {
    let mut found = Vec::new();
    for item in parse_pem(pem) {
        let item = item.map_err(|err| unusable(path, "no whole PEM").with_source(err))?;
        if let PemItem::Certificate(certificate) = item {
            found.push(certificate);
        }
    }
    if found.is_empty() { Err(unusable(path, "no certificate in PEM")) } else { Ok(found) }
}

fn read(path: &Path) -> Result<Vec<u8>> {
    let unread = |err| Error::invalid(format!("cannot read {}", path.display())).with_source(err);
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(unread)?;
    file.take(CERTIFICATES_BYTES_MAX).read_to_end(&mut bytes).map_err(unread)?;
    Ok(bytes)
}

fn unusable(path: &Path, holds: &str) -> Error {
    Error::invalid(format!("{} holds {holds}", path.display()))
}
