//! One file as an HTTP answer: whole, in part, or not at all because the client has it.

use crate::api::Problem;
use crate::blob::{Download, FileInfo, RoomFiles};
use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use chrono::DateTime;
use futures_util::stream;
use std::ops::Range;

/// Bytes read from storage at once.
const BLOCK_BYTES: usize = 256 * 1024;

/// Answers GET and HEAD (axum drops the body of a HEAD).
pub(super) async fn file(
    files: &RoomFiles,
    path: &str,
    info: FileInfo,
    asked: &HeaderMap,
    download: bool,
) -> Result<Response<Body>, Problem> {
    let mut headers = HeaderMap::new();
    if info.is_folder {
        headers.insert("x-meshagent-is-folder", HeaderValue::from_static("true"));
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
        return Ok(with(StatusCode::OK, headers, Body::empty()));
    }
    let size = info.size.unwrap_or(0);
    let changed_at = info.updated_at.unwrap_or_default();
    let etag = format!("\"{size:x}-{:x}\"", changed_at.timestamp_micros());
    let modified = changed_at.format("%a, %d %b %Y %H:%M:%S GMT").to_string();
    let mime = mime_guess::from_path(path).first_or_octet_stream();
    put(&mut headers, header::ETAG, &etag);
    put(&mut headers, header::LAST_MODIFIED, &modified);
    put(&mut headers, header::CONTENT_TYPE, mime.essence_str());
    put(&mut headers, header::ACCEPT_RANGES, "bytes");
    if download {
        let name: String =
            info.name.chars().filter(|c| c.is_ascii() && !c.is_control() && !"\"\\".contains(*c)).collect();
        put(&mut headers, header::CONTENT_DISPOSITION, &format!("attachment; filename=\"{name}\""));
    }
    let has = |name| asked.get(name).and_then(|v: &HeaderValue| v.to_str().ok());
    let same = has(header::IF_NONE_MATCH).is_some_and(|given| given == "*" || given.contains(&etag));
    let unchanged = has(header::IF_NONE_MATCH).is_none()
        && has(header::IF_MODIFIED_SINCE)
            .and_then(|since| DateTime::parse_from_rfc2822(since).ok())
            .is_some_and(|since| changed_at.timestamp() <= since.timestamp());
    if same || unchanged {
        return Ok(with(StatusCode::NOT_MODIFIED, headers, Body::empty()));
    }
    // A part of a file that has changed since would not fit what the client has.
    let other = has(header::IF_RANGE).is_some_and(|known| known != etag && known != modified);
    let wanted = has(header::RANGE).filter(|_| !other);
    let (status, range) = match wanted.map(|text| range(text, size)) {
        None | Some(Part::All) => (StatusCode::OK, 0..size),
        Some(Part::Some(range)) => {
            put(
                &mut headers,
                header::CONTENT_RANGE,
                &format!("bytes {}-{}/{size}", range.start, range.end - 1),
            );
            (StatusCode::PARTIAL_CONTENT, range)
        }
        Some(Part::None) => {
            put(&mut headers, header::CONTENT_RANGE, &format!("bytes */{size}"));
            return Ok(with(StatusCode::RANGE_NOT_SATISFIABLE, headers, Body::empty()));
        }
    };
    put(&mut headers, header::CONTENT_LENGTH, &(range.end - range.start).to_string());
    let reader = files.open_read(path, Some(range)).await?;
    Ok(with(status, headers, body(reader)))
}

fn body(reader: Download) -> Body {
    Body::from_stream(stream::try_unfold(reader, |mut reader| async move {
        let block = reader.read(BLOCK_BYTES).await?;
        Ok::<_, crate::blob::BlobError>((!block.is_empty()).then_some((block, reader)))
    }))
}

fn put(headers: &mut HeaderMap, name: header::HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

fn with(status: StatusCode, headers: HeaderMap, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

/// What a `Range` header asks of a file of some size.
#[derive(Debug, PartialEq, Eq)]
enum Part {
    /// Something we do not serve in parts: the whole is a right answer.
    All,
    Some(Range<u64>),
    /// Outside the file.
    None,
}

fn range(text: &str, size: u64) -> Part {
    let Some(spec) = text.strip_prefix("bytes=").filter(|s| !s.contains(',')) else { return Part::All };
    let Some((first, last)) = spec.trim().split_once('-') else { return Part::All };
    let range = match (first.parse::<u64>(), last.parse::<u64>()) {
        (Ok(first), Ok(last)) if first <= last => first..last.saturating_add(1).min(size),
        (Ok(first), Err(_)) if last.is_empty() => first..size,
        (Err(_), Ok(tail)) if first.is_empty() => size.saturating_sub(tail)..size,
        _ => return Part::All,
    };
    if range.start < range.end { Part::Some(range) } else { Part::None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_read_as_http_says() {
        for (text, want) in [
            ("bytes=0-9", Part::Some(0..10)),
            ("bytes=90-", Part::Some(90..100)),
            ("bytes=-10", Part::Some(90..100)),
            ("bytes=-200", Part::Some(0..100)),
            ("bytes=-0", Part::None),
            ("bytes=95-200", Part::Some(95..100)),
            ("bytes=100-", Part::None),
            ("bytes=5-1", Part::All),
            ("bytes=0-1,4-5", Part::All),
            ("lines=1-2", Part::All),
        ] {
            assert_eq!(range(text, 100), want, "{text}");
        }
    }
}
