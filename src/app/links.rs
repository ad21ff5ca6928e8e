//! Signed links: whoever holds one may read one file until it expires.

use crate::id::RoomId;
use crate::vault::Secret;
use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};

/// How long a link is good for, seconds.
pub const LINK_SECONDS: i64 = 60 * 60;

/// Makes and checks links.
pub struct Links {
    key: hmac::Key,
    base_url: String,
}

impl std::fmt::Debug for Links {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Links").field("base_url", &self.base_url).finish_non_exhaustive()
    }
}

impl Links {
    #[must_use]
    pub fn new(secret: &Secret, base_url: String) -> Self {
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, secret.expose()), base_url }
    }

    /// A URL for one file of a room, good until `now` plus [`LINK_SECONDS`].
    #[must_use]
    pub fn url(&self, room: RoomId, path: &str, download: bool, now: DateTime<Utc>) -> String {
        let expires = now.timestamp() + LINK_SECONDS;
        let tag = hmac::sign(&self.key, signed(room, path, download, expires).as_bytes());
        let signature = URL_SAFE_NO_PAD.encode(tag.as_ref());
        let mut url = format!("{}/links/{}/{room}", self.base_url, room.project());
        push_path(&mut url, path);
        url.push_str(&format!("?expires={expires}&download={download}&signature={signature}"));
        url
    }

    /// A URL by which somebody without a credential may do what `signed` says.
    #[must_use]
    pub fn signed_url(&self, signed: &Signed<'_>) -> String {
        let tag = hmac::sign(&self.key, signed.text().as_bytes());
        let signature = URL_SAFE_NO_PAD.encode(tag.as_ref());
        let mut url = format!("{}/signed/{}/{}", self.base_url, signed.room.project(), signed.room);
        push_path(&mut url, signed.path);
        let (method, expires) = (signed.method.as_str(), signed.expires);
        url.push_str(&format!("?method={method}&expires={expires}&signature={signature}"));
        url
    }

    /// Whether a signature is ours, for exactly this, and still good.
    #[must_use]
    pub fn is_signed(&self, signed: &Signed<'_>, signature: &str, now: DateTime<Utc>) -> bool {
        let Ok(tag) = URL_SAFE_NO_PAD.decode(signature) else { return false };
        hmac::verify(&self.key, signed.text().as_bytes(), &tag).is_ok() && now.timestamp() < signed.expires
    }

    /// Whether a link is ours and still good.
    #[must_use]
    pub fn allows(
        &self,
        room: RoomId,
        path: &str,
        download: bool,
        expires: i64,
        signature: &str,
        now: DateTime<Utc>,
    ) -> bool {
        let Ok(tag) = URL_SAFE_NO_PAD.decode(signature) else { return false };
        let text = signed(room, path, download, expires);
        hmac::verify(&self.key, text.as_bytes(), &tag).is_ok() && now.timestamp() < expires
    }
}

/// What a signed URL is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignedMethod {
    Get,
    Head,
    Put,
    Delete,
}

/// One thing that may be done to one path until a time (Unix seconds).
#[derive(Debug, Clone, Copy)]
pub struct Signed<'a> {
    pub method: SignedMethod,
    pub room: RoomId,
    pub path: &'a str,
    pub expires: i64,
}

impl SignedMethod {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Put => "PUT",
            Self::Delete => "DELETE",
        }
    }
}

impl std::str::FromStr for SignedMethod {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "GET" => Ok(Self::Get),
            "HEAD" => Ok(Self::Head),
            "PUT" => Ok(Self::Put),
            "DELETE" => Ok(Self::Delete),
            _ => Err(()),
        }
    }
}

impl Signed<'_> {
    /// Begins unlike the text of a link, so that no signature of one serves the other.
    fn text(&self) -> String {
        let Self { method, room, path, expires } = self;
        format!("signed {}\n{}\n{room}\n{path}\n{expires}", method.as_str(), room.project())
    }
}

fn push_path(url: &mut String, path: &str) {
    for segment in path.split('/') {
        url.push('/');
        url.extend(url::form_urlencoded::byte_serialize(segment.as_bytes()).map(|s| s.replace('+', "%20")));
    }
}

fn signed(room: RoomId, path: &str, download: bool, expires: i64) -> String {
    format!("{}\n{room}\n{path}\n{download}\n{expires}", room.project())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::ProjectId;
    use uuid::Uuid;

    #[test]
    fn a_signed_url_is_good_for_its_method_path_room_and_time_only() {
        let links = Links::new(&Secret::new(b"0123456789abcdef".to_vec()), "http://h".into());
        let project = ProjectId::new(Uuid::from_u128(1));
        let room = RoomId::new(project, Uuid::from_u128(2));
        let put = Signed { method: SignedMethod::Put, room, path: "a b.txt", expires: 100 };
        let url = links.signed_url(&put);
        assert!(url.contains("/a%20b.txt?method=PUT&expires=100&"), "{url}");
        let signature = url.rsplit_once("signature=").unwrap().1;
        let at = |second| DateTime::from_timestamp(second, 0).unwrap();
        assert!(links.is_signed(&put, signature, at(99)));
        assert!(!links.is_signed(&put, signature, at(100)), "expired");
        let other = RoomId::new(project, Uuid::from_u128(3));
        for wrong in [
            Signed { method: SignedMethod::Delete, ..put },
            Signed { path: "a", ..put },
            Signed { expires: 101, ..put },
            Signed { room: other, ..put },
        ] {
            assert!(!links.is_signed(&wrong, signature, at(1)), "{wrong:?}");
        }
        for forged in ["", "x", "AAAA", "!"] {
            assert!(!links.is_signed(&put, forged, at(1)), "{forged}");
        }
    }

    #[test]
    fn a_link_is_good_for_its_file_and_time_only() {
        let links = Links::new(&Secret::new(b"0123456789abcdef".to_vec()), "http://h".into());
        let project = ProjectId::new(Uuid::from_u128(1));
        let room = RoomId::new(project, Uuid::from_u128(2));
        let now = DateTime::UNIX_EPOCH;
        let url = links.url(room, "a b/c.txt", false, now);
        assert!(url.starts_with("http://h/links/") && url.contains("/a%20b/c.txt?expires=3600&"), "{url}");
        let signature = url.rsplit_once("signature=").unwrap().1;
        let ok =
            |path: &str, download, expires, now| links.allows(room, path, download, expires, signature, now);
        assert!(ok("a b/c.txt", false, 3600, now));
        assert!(!ok("a b/d.txt", false, 3600, now));
        assert!(!ok("a b/c.txt", true, 3600, now));
        assert!(!ok("a b/c.txt", false, 9999, now));
        assert!(!ok("a b/c.txt", false, 3600, now + chrono::Duration::seconds(3600)));
    }
}
