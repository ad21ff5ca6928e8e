//! The certificate for `STARTTLS`, from PEM files.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// Why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error(
        "cannot read the {what} in {path}: {reason}; give PEM files with --smtp-tls-cert and --smtp-tls-key"
    )]
    File { what: &'static str, path: PathBuf, reason: String },
    #[error("the certificate in {path} does not go with its key: {reason}")]
    Pair { path: PathBuf, reason: String },
}

/// Reads a certificate chain and its key. Blocking.
pub fn acceptor(certificate: &Path, key: &Path) -> Result<TlsAcceptor, TlsError> {
    let file = |what, path: &Path, reason: String| TlsError::File { what, path: path.to_owned(), reason };
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect)
        .map_err(|error| file("certificate", certificate, error.to_string()))?;
    let key = PrivateKeyDer::from_pem_file(key).map_err(|error| file("key", key, error.to_string()))?;
    let pair = |reason: String| TlsError::Pair { path: certificate.to_owned(), reason };
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| pair(error.to_string()))?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|error| pair(error.to_string()))?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}
