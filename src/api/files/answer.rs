//! One file as an HTTP answer: whole, in part, or not at all because the client has it.

use crate::api::Problem;
use crate::blob::{Download, FileInfo, RoomFiles};
use crate::net::conditional::{Send, Validators};
use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use futures_util::stream;

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
    let validators = Validators::of(size, changed_at);
    let mime = mime_guess::from_path(path).first_or_octet_stream();
    put(&mut headers, header::ETAG, &validators.etag);
    put(&mut headers, header::LAST_MODIFIED, &validators.modified());
    put(&mut headers, header::CONTENT_TYPE, mime.essence_str());
    put(&mut headers, header::ACCEPT_RANGES, "bytes");
    if download {
        let name: String =
            info.name.chars().filter(|c| c.is_ascii() && !c.is_control() && !"\"\\".contains(*c)).collect();
        put(&mut headers, header::CONTENT_DISPOSITION, &format!("attachment; filename=\"{name}\""));
    }
    let (status, range) = match validators.send(asked, size) {
        Send::Nothing => return Ok(with(StatusCode::NOT_MODIFIED, headers, Body::empty())),
        Send::All => (StatusCode::OK, 0..size),
        Send::Part(range) => {
            put(
                &mut headers,
                header::CONTENT_RANGE,
                &format!("bytes {}-{}/{size}", range.start, range.end - 1),
            );
            (StatusCode::PARTIAL_CONTENT, range)
        }
        Send::Outside => {
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
