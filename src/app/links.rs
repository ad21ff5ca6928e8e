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
        for segment in path.split('/') {
            url.push('/');
            url.extend(
                url::form_urlencoded::byte_serialize(segment.as_bytes()).map(|s| s.replace('+', "%20")),
            );
        }
        url.push_str(&format!("?expires={expires}&download={download}&signature={signature}"));
        url
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

fn signed(room: RoomId, path: &str, download: bool, expires: i64) -> String {
    format!("{}\n{room}\n{path}\n{download}\n{expires}", room.project())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::ProjectId;
    use uuid::Uuid;

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
