//! Addresses for telemetry: who knows one may add telemetry to one session and do nothing else. The SDKs' exporters
//! send no credential, so the address itself is one.

use crate::id::{ProjectId, SessionId};
use crate::vault::Secret;
use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use uuid::Uuid;

/// Bytes of the two identifiers in a key.
const IDS_BYTES: usize = 32;

/// Makes and checks the keys in such addresses.
pub struct Ingest {
    key: hmac::Key,
}

impl std::fmt::Debug for Ingest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ingest").finish_non_exhaustive()
    }
}

impl Ingest {
    #[must_use]
    pub fn new(secret: &Secret) -> Self {
        // A key of its own: what is signed here is never a link or a token.
        let own = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret.expose()), b"telemetry");
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, own.as_ref()) }
    }

    /// The base of the OTLP endpoints of a session; exporters append `/v1/traces` and so on.
    #[must_use]
    pub fn endpoint(&self, base_url: &str, session: SessionId) -> String {
        let mut bytes = [session.project().uuid().into_bytes(), session.uuid().into_bytes()].concat();
        let tag = hmac::sign(&self.key, &bytes);
        bytes.extend_from_slice(tag.as_ref());
        format!("{base_url}/otel/{}", URL_SAFE_NO_PAD.encode(bytes))
    }

    /// The session that a key is for, `None` when it is not ours.
    #[must_use]
    pub fn session(&self, key: &str) -> Option<SessionId> {
        let bytes = URL_SAFE_NO_PAD.decode(key).ok()?;
        let (ids, tag) = bytes.split_at_checked(IDS_BYTES)?;
        hmac::verify(&self.key, ids, tag).ok()?;
        let project = ProjectId::new(Uuid::from_slice(&ids[..IDS_BYTES / 2]).ok()?);
        Some(SessionId::new(project, Uuid::from_slice(&ids[IDS_BYTES / 2..]).ok()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_opens_its_session_only() {
        let ingest = Ingest::new(&Secret::new(b"0123456789abcdef".to_vec()));
        let session = SessionId::new(ProjectId::new(Uuid::from_u128(1)), Uuid::from_u128(2));
        let endpoint = ingest.endpoint("http://h", session);
        let key = endpoint.strip_prefix("http://h/otel/").unwrap();
        assert_eq!(ingest.session(key), Some(session));
        let other = Ingest::new(&Secret::new(b"fedcba9876543210".to_vec()));
        assert_eq!(other.session(key), None);
        let mut changed = key.to_owned().into_bytes();
        changed[5] = if changed[5] == b'A' { b'B' } else { b'A' };
        assert_eq!(ingest.session(&String::from_utf8(changed).unwrap()), None);
        assert_eq!(ingest.session("short"), None);
    }
}
