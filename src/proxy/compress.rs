//! Texts on the way, compressed: whole and in memory, up to a size, a few at a time.

use crate::spec::Compression;
use axum::http::{HeaderMap, header};
use std::io::Write as _;

/// Smallest and largest text that is compressed, bytes.
pub const BYTES: std::ops::RangeInclusive<u64> = 256..=4 * 1024 * 1024;
/// Texts that are compressed at once; others go as they are.
pub const AT_ONCE_MAX: usize = 4;
/// As much as is won quickly.
const BROTLI_QUALITY: u32 = 5;
const BROTLI_WINDOW_BITS: u32 = 20;
const BROTLI_BUFFER_BYTES: usize = 4096;

/// How a text is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coding {
    Brotli,
    Gzip,
}

impl Coding {
    /// The name in `Content-Encoding`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Brotli => "br",
            Self::Gzip => "gzip",
        }
    }

    /// The whole text, compressed. Takes a while: not for an async thread.
    pub fn encode(self, text: &[u8]) -> std::io::Result<Vec<u8>> {
        match self {
            Self::Brotli => {
                let into = Vec::with_capacity(text.len() / 2);
                let mut writer = brotli::CompressorWriter::new(
                    into,
                    BROTLI_BUFFER_BYTES,
                    BROTLI_QUALITY,
                    BROTLI_WINDOW_BITS,
                );
                writer.write_all(text)?;
                writer.flush()?;
                Ok(writer.into_inner())
            }
            Self::Gzip => {
                let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
                writer.write_all(text)?;
                writer.finish()
            }
        }
    }
}

/// What the client takes of what the route offers.
#[must_use]
pub fn choose(offered: Compression, asked: &HeaderMap) -> Option<Coding> {
    let choices: &[Coding] = match offered {
        Compression::Brotli => &[Coding::Brotli, Coding::Gzip],
        Compression::Gzip => &[Coding::Gzip],
        Compression::None => &[],
    };
    choices.iter().copied().find(|coding| takes(asked, coding.name()))
}

fn takes(asked: &HeaderMap, name: &str) -> bool {
    let all = asked.get_all(header::ACCEPT_ENCODING).into_iter().filter_map(|value| value.to_str().ok());
    let mut any = None;
    for item in all.flat_map(|text| text.split(',')) {
        let mut parts = item.split(';').map(str::trim);
        let coding = parts.next().unwrap_or_default();
        let refused = |part: &str| part.strip_prefix("q=").and_then(|q| q.parse::<f32>().ok()) == Some(0.0);
        let wanted = !parts.any(refused);
        if coding.eq_ignore_ascii_case(name) {
            return wanted;
        }
        if coding == "*" {
            any = Some(wanted);
        }
    }
    any.unwrap_or(false)
}

/// Whether there is something to win.
#[must_use]
pub fn is_text(mime: &str) -> bool {
    let (kind, sub) = mime.split_once('/').unwrap_or_default();
    let sub = sub.to_ascii_lowercase();
    kind == "text"
        || sub.ends_with("+xml")
        || sub.ends_with("+json")
        || (kind == "application"
            && matches!(
                sub.as_str(),
                "json" | "javascript" | "xml" | "wasm" | "x-javascript" | "yaml" | "x-yaml"
            ))
        || (kind == "font" && matches!(sub.as_str(), "ttf" | "otf"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read as _;

    fn asked(text: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(header::ACCEPT_ENCODING, axum::http::HeaderValue::from_static(text))])
    }

    #[test]
    fn a_client_gets_what_it_takes() {
        use Compression::{Brotli, Gzip, None as No};
        for (offered, text, want) in [
            (Brotli, "gzip, deflate, br", Some(Coding::Brotli)),
            (Brotli, "gzip", Some(Coding::Gzip)),
            (Brotli, "br;q=0, gzip;q=0.5", Some(Coding::Gzip)),
            (Brotli, "*", Some(Coding::Brotli)),
            (Brotli, "*;q=0", None),
            (Brotli, "identity", None),
            (Gzip, "br", None),
            (No, "br, gzip", None),
        ] {
            assert_eq!(choose(offered, &asked(text)), want, "{offered:?} {text}");
        }
        assert_eq!(choose(Brotli, &HeaderMap::new()), None);
    }

    #[test]
    fn texts_come_out_as_they_went_in() {
        let text = "a text with repetition, ".repeat(100);
        let packed = Coding::Gzip.encode(text.as_bytes()).unwrap();
        let mut out = String::new();
        flate2::read::GzDecoder::new(&packed[..]).read_to_string(&mut out).unwrap();
        assert!(packed.len() < text.len() / 2 && out == text);
        let packed = Coding::Brotli.encode(text.as_bytes()).unwrap();
        let mut out = String::new();
        brotli::Decompressor::new(&packed[..], 4096).read_to_string(&mut out).unwrap();
        assert!(packed.len() < text.len() / 2 && out == text);
        assert!(
            is_text("text/html")
                && is_text("image/svg+xml")
                && !is_text("image/png")
                && !is_text("video/mp4")
        );
    }
}
