//! What things are called in Kubernetes: the group, its kinds, and names of objects.

use crate::app::plan::{KINDS, Resource};
use crate::spec::Kind;
use sha2::{Digest, Sha256};

/// The group of all custom resources.
pub const GROUP: &str = "meshagent.dev";
/// The version, as in `version:` of documents.
pub const VERSION: &str = "v1";
/// `kubectl get meshagent` shows all kinds.
pub const CATEGORY: &str = "meshagent";
/// Longest readable part of a name that is made here, bytes.
const READABLE_BYTES_MAX: usize = 48;
/// Longest name of an object.
pub const NAME_BYTES_MAX: usize = 253;
/// Bytes of the hash that tells made names apart.
pub const HASH_BYTES: usize = 5;

/// Every kind that can be applied, in the order of dependence.
pub fn kinds() -> impl Iterator<Item = &'static dyn Resource> {
    KINDS.into_iter()
}

/// The plural, in lower case: `services`.
#[must_use]
pub fn plural(kind: Kind) -> String {
    let one = singular(kind);
    match one.strip_suffix('y') {
        // Its name says that it is about several.
        _ if kind == Kind::RoomRoles => one,
        Some(stem) if !stem.ends_with(['a', 'e', 'i', 'o', 'u']) => format!("{stem}ies"),
        _ if one.ends_with(['s', 'x']) => format!("{one}es"),
        _ => format!("{one}s"),
    }
}

/// One, in lower case: `service`.
#[must_use]
pub fn singular(kind: Kind) -> String {
    kind.as_str().to_ascii_lowercase()
}

/// Short names for `kubectl get`: `maservice` and, where the kind has one, `masvc`. Kubernetes has kinds of the same names.
#[must_use]
pub fn short_names(kind: Kind) -> Vec<String> {
    let short = kind.short_names().iter().map(|name| (*name).to_owned());
    std::iter::once(singular(kind)).chain(short).map(|name| format!("ma{name}")).collect()
}

/// `meshagent.dev/v1`.
#[must_use]
pub fn api_version() -> String {
    format!("{GROUP}/{VERSION}")
}

/// Name of the object of a resource: the same for the same resource, another for each other one of the kind. Names that
/// Kubernetes takes stay as they are, those of a room stand behind it: `desk.web`.
#[must_use]
pub fn object_name(kind: Kind, room: Option<&str>, name: &str) -> String {
    let parts: Vec<&str> = room.into_iter().chain([name]).collect();
    let joined = parts.join(".");
    if parts.iter().all(|part| is_label(part)) && joined.len() <= NAME_BYTES_MAX {
        return joined;
    }
    let mut readable = String::new();
    for character in joined.chars().map(|c| c.to_ascii_lowercase()) {
        let plain = character.is_ascii_alphanumeric();
        if plain || (!readable.is_empty() && !readable.ends_with('-')) {
            readable.push(if plain { character } else { '-' });
        }
        if readable.len() >= READABLE_BYTES_MAX {
            break;
        }
    }
    let hash = digest(&[kind.as_str(), room.unwrap_or("\0"), name]);
    let readable = readable.trim_matches('-');
    if readable.is_empty() { format!("x-{hash}") } else { format!("{readable}-{hash}") }
}

/// Whether Kubernetes takes a text as a part of a name.
#[must_use]
pub fn is_label(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    text.len() <= 63
        && text.chars().all(|c| plain(c) || c == '-')
        && text.starts_with(plain)
        && text.ends_with(plain)
}

/// A short hash of texts.
#[must_use]
pub fn digest(parts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part.as_bytes());
    }
    hex::encode(&hash.finalize()[..HASH_BYTES])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_names_stay_and_others_are_made_apart() {
        let service = |room, name| object_name(Kind::Service, room, name);
        assert_eq!(service(None, "web"), "web");
        assert_eq!(service(Some("desk"), "web"), "desk.web");
        // One of the project that is named as one of a room.
        let dotted = service(None, "desk.web");
        assert!(dotted.starts_with("desk-web-") && dotted != "desk.web", "{dotted}");
        let mail = object_name(Kind::Mailbox, None, "Help@mail.example.com");
        assert!(mail.starts_with("help-mail-example-com-"), "{mail}");
        assert_ne!(mail, object_name(Kind::Mailbox, None, "help@mail.example.com"));
        assert_ne!(service(Some("a"), "B"), service(None, "a.B"));
        for odd in ["", "---", "Ünïcode", "a b", "-a", &"long".repeat(200), "日本"] {
            let name = service(Some("desk"), odd);
            assert!(name.len() <= NAME_BYTES_MAX && name.split('.').all(is_label), "{odd}: {name}");
            assert_eq!(name, service(Some("desk"), odd));
        }
    }

    #[test]
    fn kinds_have_plurals_and_short_names() {
        assert_eq!(plural(Kind::Mailbox), "mailboxes");
        assert_eq!(plural(Kind::ApiKey), "apikeys");
        assert_eq!(plural(Kind::ScheduledTask), "scheduledtasks");
        assert_eq!(short_names(Kind::Service), ["maservice", "masvc"]);
        assert_eq!(plural(Kind::Room), "rooms");
    }
}
