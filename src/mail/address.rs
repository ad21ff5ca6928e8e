//! `name@domain`, as the envelope has it. Pure.

use std::fmt;
use std::str::FromStr;

/// Longest address, bytes (RFC 5321 §4.5.3.1).
pub const ADDRESS_BYTES_MAX: usize = 254;
/// Longest name before the `@`, bytes.
const LOCAL_BYTES_MAX: usize = 64;
/// Separates a name from a tag that says what the mail is for: `help+orders@example.org`.
const TAG: char = '+';

/// A mail address. The domain is in lower case, the name as it was written; they compare without regard to case.
#[derive(Clone, Debug, Eq)]
pub struct Address {
    local: String,
    domain: String,
}

/// The text is no address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a mail address; write it as name@domain")]
pub struct InvalidAddress(String);

impl Address {
    #[must_use]
    pub fn local(&self) -> &str {
        &self.local
    }

    #[must_use]
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// `help@x` of `help+orders@x`; `None` without a tag.
    #[must_use]
    pub fn without_tag(&self) -> Option<Self> {
        let (local, _) = self.local.split_once(TAG)?;
        (!local.is_empty()).then(|| Self { local: local.to_owned(), domain: self.domain.clone() })
    }

    /// All in lower case.
    #[must_use]
    pub fn lower(&self) -> String {
        format!("{}@{}", self.local.to_ascii_lowercase(), self.domain)
    }
}

impl PartialEq for Address {
    fn eq(&self, other: &Self) -> bool {
        self.domain == other.domain && self.local.eq_ignore_ascii_case(&other.local)
    }
}

impl FromStr for Address {
    type Err = InvalidAddress;

    fn from_str(text: &str) -> Result<Self, InvalidAddress> {
        let text = text.trim();
        let parts = text.rsplit_once('@').filter(|(local, domain)| {
            text.len() <= ADDRESS_BYTES_MAX && is_local(local) && is_domain(domain)
        });
        let (local, domain) =
            parts.ok_or_else(|| InvalidAddress(text.chars().take(ADDRESS_BYTES_MAX).collect()))?;
        Ok(Self { local: local.to_owned(), domain: domain.to_ascii_lowercase() })
    }
}

/// Dot-atoms only: a quoted name may hold anything, and nobody has one.
fn is_local(text: &str) -> bool {
    let atom = |part: &str| {
        !part.is_empty()
            && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~".contains(&b))
    };
    text.len() <= LOCAL_BYTES_MAX && text.split('.').all(atom)
}

/// Names only: no `[127.0.0.1]`.
fn is_domain(text: &str) -> bool {
    let label = |part: &str| {
        !part.is_empty()
            && !part.starts_with('-')
            && !part.ends_with('-')
            && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    text.split('.').all(label)
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.local, self.domain)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_read_and_compare_without_regard_to_case() {
        let address: Address = "Support.Agent@Mail.Example.ORG".parse().unwrap();
        assert_eq!(address.to_string(), "Support.Agent@mail.example.org");
        assert_eq!(address, "support.agent@mail.example.org".parse().unwrap());
        let tagged: Address = "help+orders@x.test".parse().unwrap();
        assert_eq!(tagged.without_tag(), Some("help@x.test".parse().unwrap()));
        assert_eq!(address.without_tag(), None);
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for bad in [
            "",
            "a",
            "@b",
            "a@",
            "a@b@c",
            "a b@c",
            "a@b c",
            "a..b@c",
            "a@-b",
            "a@[127.0.0.1]",
            "\"a b\"@c",
            "a@b\r\nRCPT TO:<c@d>",
            "<a@b>",
            "é@b",
            "a@é",
        ] {
            assert!(bad.parse::<Address>().is_err(), "{bad}");
        }
        assert!(format!("{}@b", "a".repeat(65)).parse::<Address>().is_err());
        assert!(format!("a@{}.b", "a".repeat(260)).parse::<Address>().is_err());
    }
}
