//! Messages out of a body, one after another: none becomes more in memory than it must be.

use super::{FeedError, MESSAGE_BYTES_MAX, PUBLISH_MESSAGES_MAX};
use serde::de::{Deserialize, Deserializer, IgnoredAny, SeqAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;
use std::fmt;

/// Longest message as it is written, bytes: with spaces and escapes.
const WRITTEN_BYTES_MAX: usize = 2 * MESSAGE_BYTES_MAX;

/// The messages of a body, a list of them or a single one, as they are kept: compact, without line breaks. `check` is given each with its
/// place and its bytes.
pub(super) fn bodies(
    raw: &[u8],
    is_list: bool,
    check: impl Fn(usize, &Value, usize) -> Result<(), FeedError>,
) -> Result<Vec<String>, FeedError> {
    let broken = |error: serde_json::Error| FeedError::NotJson(error.to_string());
    let written = if is_list {
        let Written { kept, count } = serde_json::from_slice(raw).map_err(broken)?;
        if count > PUBLISH_MESSAGES_MAX {
            return Err(FeedError::Many { count });
        }
        kept
    } else {
        vec![serde_json::from_slice::<&RawValue>(raw).map_err(broken)?]
    };
    let mut bodies = Vec::with_capacity(written.len());
    for (at, one) in written.into_iter().enumerate() {
        if one.get().len() > WRITTEN_BYTES_MAX {
            return Err(FeedError::Long { at });
        }
        let message: Value = serde_json::from_str(one.get()).map_err(broken)?;
        let body = message.to_string();
        if body.len() > MESSAGE_BYTES_MAX {
            return Err(FeedError::Long { at });
        }
        check(at, &message, body.len())?;
        bodies.push(body);
    }
    Ok(bodies)
}

/// The items of a list that are within the bound, and how many there are.
struct Written<'a> {
    kept: Vec<&'a RawValue>,
    count: usize,
}

impl<'de> Deserialize<'de> for Written<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Items;
        impl<'de> Visitor<'de> for Items {
            type Value = Written<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of messages")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Written<'de>, A::Error> {
                let mut kept = vec![];
                while kept.len() < PUBLISH_MESSAGES_MAX
                    && let Some(one) = list.next_element()?
                {
                    kept.push(one);
                }
                let mut count = kept.len();
                while count >= PUBLISH_MESSAGES_MAX && list.next_element::<IgnoredAny>()?.is_some() {
                    count += 1;
                }
                Ok(Written { kept, count })
            }
        }
        deserializer.deserialize_seq(Items)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(raw: &str, is_list: bool) -> Result<Vec<String>, FeedError> {
        bodies(raw.as_bytes(), is_list, |_, _, _| Ok(()))
    }

    #[test]
    fn messages_are_read_one_by_one() {
        assert_eq!(
            read("[1, {\"a\":\n \"\\u00e4\\n\"}, null]", true).unwrap(),
            ["1", "{\"a\":\"ä\\n\"}", "null"]
        );
        assert_eq!(read(" [1, 2]\n", false).unwrap(), ["[1,2]"]);
        assert!(read("[]", true).unwrap().is_empty());
        for (bad, is_list) in
            [("", false), ("{", false), ("1 2", false), ("{\"a\": 1}", true), ("[1", true), ("[1,]", true)]
        {
            assert!(matches!(read(bad, is_list), Err(FeedError::NotJson(_))), "{bad}");
        }
        let deep = "[".repeat(100_000) + &"]".repeat(100_000);
        assert!(matches!(read(&deep, false), Err(FeedError::NotJson(_))));
    }

    #[test]
    fn what_is_too_much_is_counted_and_not_kept() {
        let many = format!("[{}]", vec!["0"; PUBLISH_MESSAGES_MAX + 5].join(","));
        assert!(
            matches!(read(&many, true), Err(FeedError::Many { count }) if count == PUBLISH_MESSAGES_MAX + 5)
        );
        let most = format!("[{}]", vec!["0"; PUBLISH_MESSAGES_MAX].join(","));
        assert_eq!(read(&most, true).unwrap().len(), PUBLISH_MESSAGES_MAX);
        let long = format!("[1, \"{}\"]", "x".repeat(MESSAGE_BYTES_MAX));
        assert!(matches!(read(&long, true), Err(FeedError::Long { at: 1 })));
        let spaces = format!("[1, [{}1]]", " ".repeat(MESSAGE_BYTES_MAX));
        assert_eq!(read(&spaces, true).unwrap(), ["1", "[1]"]);
        let spaces = format!("[1, [{}1]]", " ".repeat(WRITTEN_BYTES_MAX));
        assert!(matches!(read(&spaces, true), Err(FeedError::Long { at: 1 })));
    }
}
