//! Conditions and ranges of requests for one file, as HTTP has them (RFC 9110 §13 and §14).

use axum::http::{HeaderMap, header};
use chrono::{DateTime, Utc};
use std::ops::Range;

/// By what a client knows a version of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Validators {
    /// With its quotes.
    pub etag: String,
    pub changed_at: DateTime<Utc>,
}

/// What of a file is to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Send {
    /// The client has it.
    Nothing,
    All,
    Part(Range<u64>),
    /// What is asked for is outside the file.
    Outside,
}

impl Validators {
    /// Of a file of some size that was changed at a time.
    #[must_use]
    pub fn of(size: u64, changed_at: DateTime<Utc>) -> Self {
        Self { etag: format!("\"{size:x}-{:x}\"", changed_at.timestamp_micros()), changed_at }
    }

    /// `Last-Modified`.
    #[must_use]
    pub fn modified(&self) -> String {
        self.changed_at.format("%a, %d %b %Y %H:%M:%S GMT").to_string()
    }

    /// What these headers ask of a file of `size` bytes.
    #[must_use]
    pub fn send(&self, asked: &HeaderMap, size: u64) -> Send {
        let has = |name| asked.get(name).and_then(|value| value.to_str().ok());
        let known = |list: &str| {
            list.split(',').map(str::trim).any(|tag| tag == "*" || tag.trim_start_matches("W/") == self.etag)
        };
        let unchanged = match has(header::IF_NONE_MATCH) {
            Some(list) => known(list),
            None => has(header::IF_MODIFIED_SINCE)
                .and_then(|since| DateTime::parse_from_rfc2822(since).ok())
                .is_some_and(|since| self.changed_at.timestamp() <= since.timestamp()),
        };
        if unchanged {
            return Send::Nothing;
        }
        // A part of a file that has changed since would not fit what the client has.
        let other = has(header::IF_RANGE).is_some_and(|known| known != self.etag && known != self.modified());
        has(header::RANGE).filter(|_| !other).map_or(Send::All, |text| range(text, size))
    }
}

fn range(text: &str, size: u64) -> Send {
    // What is not served in parts is rightly answered with the whole.
    let Some(spec) = text.strip_prefix("bytes=").filter(|spec| !spec.contains(',')) else { return Send::All };
    let Some((first, last)) = spec.trim().split_once('-') else { return Send::All };
    let range = match (first.parse::<u64>(), last.parse::<u64>()) {
        (Ok(first), Ok(last)) if first <= last => first..last.saturating_add(1).min(size),
        (Ok(first), Err(_)) if last.is_empty() => first..size,
        (Err(_), Ok(tail)) if first.is_empty() => size.saturating_sub(tail)..size,
        _ => return Send::All,
    };
    if range.start < range.end { Send::Part(range) } else { Send::Outside }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_read_as_http_says() {
        for (text, want) in [
            ("bytes=0-9", Send::Part(0..10)),
            ("bytes=90-", Send::Part(90..100)),
            ("bytes=-10", Send::Part(90..100)),
            ("bytes=-200", Send::Part(0..100)),
            ("bytes=-0", Send::Outside),
            ("bytes=95-200", Send::Part(95..100)),
            ("bytes=100-", Send::Outside),
            ("bytes=5-1", Send::All),
            ("bytes=0-1,4-5", Send::All),
            ("lines=1-2", Send::All),
        ] {
            assert_eq!(range(text, 100), want, "{text}");
        }
    }

    #[test]
    fn what_the_client_has_is_not_sent() {
        let at = DateTime::from_timestamp(1_000, 500).unwrap();
        let file = Validators::of(100, at);
        let asked = |name: header::HeaderName, value: &str| {
            file.send(&HeaderMap::from_iter([(name, value.parse().unwrap())]), 100)
        };
        let (etag, modified) = (file.etag.clone(), file.modified());
        assert_eq!(asked(header::IF_NONE_MATCH, &format!("\"x\", W/{etag}")), Send::Nothing);
        assert_eq!(asked(header::IF_NONE_MATCH, "*"), Send::Nothing);
        assert_eq!(asked(header::IF_NONE_MATCH, "\"x\""), Send::All);
        assert_eq!(asked(header::IF_MODIFIED_SINCE, &modified), Send::Nothing);
        assert_eq!(asked(header::IF_MODIFIED_SINCE, "Thu, 01 Jan 1970 00:00:00 GMT"), Send::All);
        assert_eq!(asked(header::IF_MODIFIED_SINCE, "nonsense"), Send::All);
        let mut both = HeaderMap::from_iter([(header::RANGE, "bytes=0-0".parse().unwrap())]);
        assert_eq!(file.send(&both, 100), Send::Part(0..1));
        both.insert(header::IF_RANGE, "\"old\"".parse().unwrap());
        assert_eq!(file.send(&both, 100), Send::All, "it changed meanwhile");
        both.insert(header::IF_RANGE, etag.parse().unwrap());
        assert_eq!(file.send(&both, 100), Send::Part(0..1));
    }
}
