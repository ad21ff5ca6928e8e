//! One file as an HTTP answer: whole, in part, or not at all because the client has it.

use crate::api::Problem;
use crate::blob::{FileInfo, RoomFiles};
use crate::net::conditional::Validators;
use crate::net::file_answer::{part, put, with};
use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode, header};

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
    let part = part(&mut headers, validators.send(asked, size), size, StatusCode::OK);
    let (status, range) = match part {
        Ok(part) => part,
        Err(status) => return Ok(with(status, headers, Body::empty())),
    };
    put(&mut headers, header::CONTENT_LENGTH, &(range.end - range.start).to_string());
    let reader = files.open_read(path, Some(range)).await?;
    Ok(with(status, headers, Body::from_stream(reader.blocks())))
}
