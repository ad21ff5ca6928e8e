//! Names people give to things, checked once at the border.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Why a text is not a usable name. The text says what is allowed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a valid {kind} name: {rule}")]
pub struct InvalidName {
    pub kind: &'static str,
    pub text: String,
    pub rule: &'static str,
}

/// Longest room name, characters (rule of the public clients).
pub const ROOM_NAME_CHARS_MAX: usize = 63;
/// Longest name of anything else, bytes.
pub const NAME_BYTES_MAX: usize = 255;

macro_rules! names {
    ($($(#[$doc:meta])* $name:ident, $kind:literal, $check:path;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, JsonSchema)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            pub fn new(text: impl Into<String>) -> Result<Self, InvalidName> {
                let text = text.into();
                match $check(&text) {
                    Ok(()) => Ok(Self(text)),
                    Err(rule) => Err(InvalidName { kind: $kind, text, rule }),
                }
            }
            #[must_use]
            pub fn as_str(&self) -> &str { &self.0 }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidName;
            fn try_from(text: String) -> Result<Self, InvalidName> { Self::new(text) }
        }
        impl From<$name> for String {
            fn from(name: $name) -> String { name.0 }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { f.write_str(&self.0) }
        }
        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str { &self.0 }
        }
    )*};
}

names! {
    /// A room's name: unique in its project, part of the socket's path.
    RoomName, "room", room_rule;
    /// A queue's name: unique in its room.
    QueueName, "queue", plain_rule;
}

fn room_rule(text: &str) -> Result<(), &'static str> {
    const RULE: &str = "use 1 to 63 of a-z, 0-9 and -, beginning and ending with a letter or digit";
    let bytes = text.as_bytes();
    let allowed = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let ends = bytes.first().is_some_and(allowed) && bytes.last().is_some_and(allowed);
    let all = bytes.iter().all(|b| allowed(b) || *b == b'-');
    if ends && all && bytes.len() <= ROOM_NAME_CHARS_MAX { Ok(()) } else { Err(RULE) }
}

fn plain_rule(text: &str) -> Result<(), &'static str> {
    if text.is_empty() || text.len() > NAME_BYTES_MAX || text.chars().any(char::is_control) {
        return Err("use 1 to 255 bytes without control characters");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_names_follow_the_clients_rule() {
        for good in ["a", "my-room", "0", "r2-d2", &"a".repeat(63)] {
            assert!(RoomName::new(good).is_ok(), "{good}");
        }
        for bad in ["", "-a", "a-", "A", "a b", "a/b", "ü", &"a".repeat(64)] {
            let error = RoomName::new(bad).unwrap_err().to_string();
            assert!(error.contains("a-z, 0-9"), "{error}");
        }
    }
}
