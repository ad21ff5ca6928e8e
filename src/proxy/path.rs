//! Paths of requests: read once, strictly, so that no two parts of the way see different ones.

use crate::spec::{PathType, RoutePath};

/// Longest path and query, bytes.
pub const TARGET_BYTES_MAX: usize = 16 * 1024;

/// A path in its segments, decoded, without empty ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    pub segments: Vec<String>,
    /// It ends with `/`.
    pub folder: bool,
}

/// The path means something else to different programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the path is ambiguous: it has dot segments, encoded slashes, backslashes, control characters or broken escapes"
)]
pub struct BadPath;

/// Reads the path of a request as it was sent.
pub fn read(raw: &str) -> Result<Asked, BadPath> {
    let rest = raw.strip_prefix('/').ok_or(BadPath)?;
    let segments =
        rest.split('/').filter(|raw| !raw.is_empty()).map(segment).collect::<Result<Vec<_>, _>>()?;
    let folder = rest.is_empty() || rest.ends_with('/');
    Ok(Asked { segments, folder })
}

fn segment(raw: &str) -> Result<String, BadPath> {
    let mut bytes = Vec::with_capacity(raw.len());
    let mut rest = raw.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digit = |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16));
        let (high, low) = (digit(rest.next()).ok_or(BadPath)?, digit(rest.next()).ok_or(BadPath)?);
        bytes.push(u8::try_from(high * 16 + low).map_err(|_| BadPath)?);
    }
    let text = String::from_utf8(bytes).map_err(|_| BadPath)?;
    // Some servers cut parameters off a segment before they look at it.
    let bare = text.split(';').next().unwrap_or_default();
    if matches!(bare, "." | "..") || text.contains(['/', '\\']) || text.chars().any(char::is_control) {
        return Err(BadPath);
    }
    Ok(text)
}

impl Asked {
    /// The path again, with one slash between segments and everything else than plain characters encoded.
    #[must_use]
    pub fn encoded(&self) -> String {
        use std::fmt::Write as _;
        let mut path = String::new();
        for segment in &self.segments {
            path.push('/');
            for byte in segment.bytes() {
                if byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@".contains(&byte) {
                    path.push(char::from(byte));
                } else {
                    let _ = write!(path, "%{byte:02X}");
                }
            }
        }
        path
    }
}

/// The path of a route that a request is for, the longest; with the number of its segments.
#[must_use]
pub fn matching<'r>(paths: &'r [RoutePath], asked: &Asked) -> Option<(&'r RoutePath, usize)> {
    let fits = |path: &'r RoutePath| {
        let segments: Vec<&str> = path.path.split('/').filter(|segment| !segment.is_empty()).collect();
        let begins = segments.len() <= asked.segments.len()
            && segments.iter().zip(&asked.segments).all(|(own, asked)| own == asked);
        let same = || {
            let folder = segments.is_empty() || path.path.ends_with('/');
            segments.len() == asked.segments.len() && folder == asked.folder
        };
        let fits = begins && (path.path_type == PathType::Prefix || same());
        fits.then_some((path, segments.len()))
    };
    paths.iter().filter_map(fits).max_by_key(|(path, length)| (*length, path.path_type == PathType::Exact))
}

/// What of a path as it was sent is behind its first segments. Begins with one `/`.
#[must_use]
pub fn behind(raw: &str, count: usize) -> String {
    let mut rest = raw;
    for _ in 0..count {
        rest = rest.trim_start_matches('/');
        rest = rest.find('/').and_then(|at| rest.get(at..)).unwrap_or_default();
    }
    format!("/{}", rest.trim_start_matches('/'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_programs_read_differently_is_refused() {
        for bad in [
            "",
            "a",
            "*",
            "http://x/",
            "/..",
            "/a/../b",
            "/.",
            "/%2e%2e/a",
            "/%2E./a",
            "/.%2e",
            "/a%2fb",
            "/a%5cb",
            "/a\\b",
            "/..;/a",
            "/..;x=1/a",
            "/%2e%2e%3b/a",
            "/a%00",
            "/a%0d%0ab",
            "/a%zz",
            "/a%2",
            "/%ff",
            "/\u{7f}",
        ] {
            assert_eq!(read(bad), Err(BadPath), "{bad:?}");
        }
        for (good, segments, folder) in [
            ("/", vec![], true),
            ("//", vec![], true),
            ("/a//b", vec!["a", "b"], false),
            ("/%61/b%20c/", vec!["a", "b c"], true),
            ("/...", vec!["..."], false),
            ("/.well-known/x", vec![".well-known", "x"], false),
            ("/a;b=c", vec!["a;b=c"], false),
            ("/%252e%252e", vec!["%2e%2e"], false),
        ] {
            let read = read(good).unwrap();
            assert_eq!(
                (read.segments, read.folder),
                (segments.iter().map(ToString::to_string).collect(), folder),
                "{good}"
            );
        }
    }

    #[test]
    fn the_longest_path_wins_whole_segments_only() {
        let path = |path: &str, kind: &str| json!({"path": path, "pathType": kind, "targetPort": 1});
        let paths: Vec<RoutePath> = serde_json::from_value(json!([
            path("/", "prefix"),
            path("/a", "prefix"),
            path("/a", "exact"),
            path("/a/b/", "prefix"),
            path("/x/", "exact"),
        ]))
        .unwrap();
        for (asked, want, kind) in [
            ("/", "/", PathType::Prefix),
            ("/ab", "/", PathType::Prefix),
            ("/a", "/a", PathType::Exact),
            ("/a/", "/a", PathType::Prefix),
            ("//%61", "/a", PathType::Exact),
            ("/a/bc", "/a", PathType::Prefix),
            ("/a//b", "/a/b/", PathType::Prefix),
            ("/a/b/c", "/a/b/", PathType::Prefix),
            ("/x", "/", PathType::Prefix),
            ("/x/", "/x/", PathType::Exact),
        ] {
            let (found, _) = matching(&paths, &read(asked).unwrap()).unwrap();
            assert_eq!((found.path.as_str(), found.path_type), (want, kind), "{asked}");
        }
        assert!(matching(&paths[1..], &read("/b").unwrap()).is_none());
    }

    #[test]
    fn a_prefix_is_taken_off_as_it_was_sent() {
        for (raw, count, want) in [
            ("/a/b", 1, "/b"),
            ("/a", 1, "/"),
            ("//a//b/", 1, "/b/"),
            ("/%61/x%20y", 1, "/x%20y"),
            ("/a/b", 0, "/a/b"),
            ("/a/b/c", 2, "/c"),
            ("/a//evil.example", 1, "/evil.example"),
        ] {
            assert_eq!(behind(raw, count), want, "{raw}");
        }
        assert_eq!(read("//evil.example/%20/").unwrap().encoded(), "/evil.example/%20");
    }
}
