//! Signs what goes out (DKIM, RFC 6376), with a key that the operator gave.

use super::Address;
use mail_auth::common::crypto::{Ed25519Key, RsaKey, Sha256};
use mail_auth::common::headers::HeaderWriter as _;
use mail_auth::dkim::{DkimSigner, Done};
use std::fmt;
use std::path::{Path, PathBuf};
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;

/// What a signature covers, where it is there.
const HEADERS: [&str; 15] = [
    "From",
    "To",
    "Cc",
    "Reply-To",
    "Subject",
    "Date",
    "Message-ID",
    "In-Reply-To",
    "References",
    "MIME-Version",
    "Content-Type",
    "Content-Transfer-Encoding",
    "Auto-Submitted",
    "List-Id",
    "Meshagent-Correlation-ID",
];

enum Key {
    Rsa(DkimSigner<RsaKey<Sha256>, Done>),
    Ed25519(DkimSigner<Ed25519Key, Done>),
}

/// Signs mail of one domain.
pub struct Signer {
    domain: String,
    key: Key,
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signer").field("domain", &self.domain).finish_non_exhaustive()
    }
}

/// Why a key cannot sign. Never repeats the key.
#[derive(Debug, thiserror::Error)]
#[error(
    "the DKIM key in {path} cannot be used: {reason}; give an RSA or Ed25519 key as PEM, such as `openssl genrsa 2048` makes"
)]
pub struct KeyError {
    path: PathBuf,
    reason: String,
}

impl Signer {
    /// Reads the key. Blocking.
    pub fn open(path: &Path, domain: &str, selector: &str) -> Result<Self, KeyError> {
        let failed = |reason: String| KeyError { path: path.to_owned(), reason };
        let der = PrivateKeyDer::from_pem_file(path).map_err(|error| failed(error.to_string()))?;
        // What is no Ed25519 key is an RSA one, or nothing.
        let ed25519 = match &der {
            PrivateKeyDer::Pkcs8(pkcs8) => {
                Ed25519Key::from_pkcs8_maybe_unchecked_der(pkcs8.secret_pkcs8_der()).ok()
            }
            _ => None,
        };
        let key = if let Some(key) = ed25519 {
            Key::Ed25519(DkimSigner::from_key(key).domain(domain).selector(selector).headers(HEADERS))
        } else {
            let key = RsaKey::<Sha256>::from_key_der(der).map_err(|error| failed(error.to_string()))?;
            Key::Rsa(DkimSigner::from_key(key).domain(domain).selector(selector).headers(HEADERS))
        };
        Ok(Self { domain: domain.to_ascii_lowercase(), key })
    }

    /// Whether mail from this address is ours to sign: it is of the domain, or of one below it.
    #[must_use]
    pub fn signs(&self, from: &Address) -> bool {
        let domain = from.domain();
        domain == self.domain || domain.strip_suffix(&self.domain).is_some_and(|rest| rest.ends_with('.'))
    }

    /// The message with its signature in front; the reason when it could not be made.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, String> {
        let signature = match &self.key {
            Key::Rsa(signer) => signer.sign(message),
            Key::Ed25519(signer) => signer.sign(message),
        };
        let header = signature.map_err(|error| error.to_string())?.to_header();
        Ok([header.as_bytes(), message].concat())
    }
}
