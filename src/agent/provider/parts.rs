//! What of a thread's parts a model can be shown, whatever the provider. Pure.

use crate::agent::history::{Part, written};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// Images that every provider takes.
const IMAGES: [&str; 4] = ["image/png", "image/jpeg", "image/gif", "image/webp"];
/// How the addresses of such images end.
const IMAGE_ENDS: [&str; 5] = [".png", ".jpg", ".jpeg", ".gif", ".webp"];

/// One part, as far as a model can be shown it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Shown<'a> {
    Text(String),
    /// Base64.
    Image {
        mime_type: &'a str,
        data: String,
    },
    /// Base64.
    Pdf {
        name: &'a str,
        data: String,
    },
    ImageLink(&'a str),
    FileLink(&'a str),
}

/// Anything that providers refuse becomes a note: one refused part would spoil its thread for good.
pub(super) fn shown(part: &Part) -> Shown<'_> {
    match part {
        Part::Text(text) => Shown::Text(text.clone()),
        Part::Sound { text, .. } => Shown::Text(written(text.as_deref()).to_owned()),
        Part::Link { url, .. } if !is_web(url) => Shown::Text(format!("[file {}]", note(url))),
        Part::Link { url, .. } if is_image(url) => Shown::ImageLink(url),
        Part::Link { url, .. } => Shown::FileLink(url),
        Part::File { mime_type, data, .. } if IMAGES.contains(&mime_type.as_str()) => {
            Shown::Image { mime_type, data: STANDARD.encode(data) }
        }
        Part::File { name, mime_type, data } if mime_type == "application/pdf" => {
            Shown::Pdf { name, data: STANDARD.encode(data) }
        }
        Part::File { name, mime_type, data } => Shown::Text(match std::str::from_utf8(data) {
            Ok(text) => format!("File {name}:\n{text}"),
            Err(_) => {
                format!("File {name} ({mime_type}, {} bytes) cannot be shown to this model.", data.len())
            }
        }),
    }
}

fn is_web(url: &str) -> bool {
    url.starts_with("https://") || url.starts_with("http://")
}

/// An address without what a `data:` one holds.
fn note(url: &str) -> &str {
    if url.starts_with("data:") { url.split([',', ';']).next().unwrap_or("data:") } else { url }
}

fn is_image(url: &str) -> bool {
    let path = url.split(['?', '#']).next().unwrap_or_default().to_ascii_lowercase();
    IMAGE_ENDS.iter().any(|end| path.ends_with(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(mime_type: &str, data: &[u8]) -> Part {
        Part::File { name: "f".into(), mime_type: mime_type.into(), data: data.to_vec().into() }
    }

    #[test]
    fn what_providers_refuse_becomes_a_note() {
        let link = |url: &str| Part::Link { name: None, url: url.into() };
        assert_eq!(shown(&link("room:///a/p.png")), Shown::Text("[file room:///a/p.png]".into()));
        assert_eq!(shown(&link("data:x/y;base64,?")), Shown::Text("[file data:x/y]".into()));
        assert_eq!(shown(&link("https://x/p.PNG?a=1")), Shown::ImageLink("https://x/p.PNG?a=1"));
        assert_eq!(shown(&link("https://x/p.pdf")), Shown::FileLink("https://x/p.pdf"));
        assert!(matches!(shown(&file("image/webp", &[255])), Shown::Image { .. }));
        assert!(matches!(shown(&file("application/pdf", &[255])), Shown::Pdf { .. }));
        for kind in ["image/heic", "image/tiff", "application/zip"] {
            let part = file(kind, &[255]);
            assert!(matches!(shown(&part), Shown::Text(text) if text.contains("cannot be shown")), "{kind}");
        }
        assert_eq!(shown(&file("image/svg+xml", b"<svg/>")), Shown::Text("File f:\n<svg/>".into()));
    }
}
