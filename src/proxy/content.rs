//! Files of a room, as a web server serves them. A room need not run for it.

use super::access::visitor;
use super::compress::{self, Coding};
use super::page::Problem;
use super::path::Asked;
use super::site::Site;
use super::{Shared, cors, sign_in};
use crate::blob::{BLOCK_BYTES, BlobError, FileInfo, RoomFiles};
use crate::error_code::RoomCode;
use crate::net::conditional::{Send, Validators};
use crate::net::file_answer::{part, put, with};
use crate::spec::Content;
use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header};
use std::sync::Arc;

const INDEX: &str = "index.html";
/// The one folder with a dot before its name that is served.
const WELL_KNOWN: &str = ".well-known";
const ALLOWED: HeaderValue = HeaderValue::from_static("GET, HEAD, OPTIONS");

/// Answers a request for files; `rest` is the number of segments that the route's path takes.
pub async fn answer(
    shared: &Shared,
    site: &Site<'_>,
    content: &Content,
    (asked, rest): (&Asked, usize),
    parts: &Parts,
) -> Response<Body> {
    if let Some(response) = cors::preflight(&content.cors, parts) {
        return response;
    }
    if parts.method == Method::OPTIONS {
        return bare(StatusCode::NO_CONTENT, [(header::ALLOW, ALLOWED)]);
    }
    if parts.method != Method::GET && parts.method != Method::HEAD {
        return bare(StatusCode::METHOD_NOT_ALLOWED, [(header::ALLOW, ALLOWED)]);
    }
    if content.iap
        && let Err(denied) = visitor(shared, site, parts).await
    {
        return sign_in::refused(site, parts, denied);
    }
    let files = Files { shared, room: shared.files.room(site.room), content, parts };
    let mut response = match files.find(asked, rest).await {
        Ok(response) => response,
        Err(problem) => problem.answer(&parts.headers),
    };
    let headers = response.headers_mut();
    for (name, value) in cors::headers(&content.cors, parts) {
        if let Some(name) = name {
            headers.append(name, value);
        }
    }
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if content.iap {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
        headers.append(header::VARY, HeaderValue::from_static("Cookie, Authorization"));
    } else {
        headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-cache"));
    }
    response
}

fn bare<const N: usize>(status: StatusCode, headers: [(HeaderName, HeaderValue); N]) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response.headers_mut().extend(headers);
    response
}

struct Files<'a> {
    shared: &'a Shared,
    room: RoomFiles,
    content: &'a Content,
    parts: &'a Parts,
}

impl Files<'_> {
    async fn find(&self, asked: &Asked, rest: usize) -> Result<Response<Body>, Problem> {
        let segments = asked.segments.get(rest..).unwrap_or_default();
        let hidden =
            |(at, segment): (usize, &String)| segment.starts_with('.') && !(at == 0 && segment == WELL_KNOWN);
        if segments.iter().enumerate().any(hidden) {
            return self.missing().await;
        }
        let path = joined(&self.content.subpath, &segments.join("/"));
        match self.stat(&path).await? {
            Some(info) if !info.is_folder && !asked.folder => self.file(&path, &info, StatusCode::OK).await,
            Some(info) if info.is_folder && self.content.index => {
                let index = joined(&path, INDEX);
                match self.stat(&index).await? {
                    // Links on the page are below the folder only if its address ends like one.
                    Some(info) if !info.is_folder && !asked.folder => Ok(self.moved(asked)),
                    Some(info) if !info.is_folder => self.file(&index, &info, StatusCode::OK).await,
                    _ => self.missing().await,
                }
            }
            _ => self.missing().await,
        }
    }

    fn moved(&self, asked: &Asked) -> Response<Body> {
        let query = self.parts.uri.query().map(|query| format!("?{query}")).unwrap_or_default();
        let to = format!("{}/{query}", asked.encoded());
        let to = HeaderValue::from_str(&to).unwrap_or(HeaderValue::from_static("/"));
        bare(StatusCode::PERMANENT_REDIRECT, [(header::LOCATION, to)])
    }

    /// The page for what is not there: below the folder that is served, else in the room.
    async fn missing(&self) -> Result<Response<Body>, Problem> {
        let page = self.content.not_found.as_deref().map(|page| page.trim().trim_matches('/'));
        if let Some(page) = page {
            for path in [joined(&self.content.subpath, page), page.to_owned()] {
                if let Some(info) = self.stat(&path).await?.filter(|info| !info.is_folder) {
                    return self.file(&path, &info, StatusCode::NOT_FOUND).await;
                }
            }
        }
        Err(Problem::not_found("there is no such file"))
    }

    async fn stat(&self, path: &str) -> Result<Option<FileInfo>, Problem> {
        stat(&self.room, path).await
    }

    async fn file(&self, path: &str, info: &FileInfo, status: StatusCode) -> Result<Response<Body>, Problem> {
        let size = info.size.unwrap_or(0);
        let asked = &self.parts.headers;
        let mime = mime_guess::from_path(path).first_or_octet_stream();
        let mut validators = Validators::of(size, info.updated_at.unwrap_or_default());
        let mut headers = HeaderMap::new();
        let is_text = compress::is_text(mime.essence_str());
        put(&mut headers, header::CONTENT_TYPE, &content_type(mime.essence_str(), is_text));
        let packs = is_text && compress::BYTES.contains(&size) && !asked.contains_key(header::RANGE);
        let coding = compress::choose(self.content.compression, asked).filter(|_| packs);
        let turn = coding.and_then(|_| Arc::clone(&self.shared.compressions).try_acquire_owned().ok());
        let coding = coding.filter(|_| turn.is_some());
        if is_text {
            headers.append(header::VARY, HeaderValue::from_static("Accept-Encoding"));
        }
        if let Some(coding) = coding {
            // Another form of the file is another thing to know.
            validators.etag = format!("{}-{}\"", validators.etag.trim_end_matches('"'), coding.name());
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(coding.name()));
        } else {
            headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        }
        put(&mut headers, header::ETAG, &validators.etag);
        put(&mut headers, header::LAST_MODIFIED, &validators.modified());
        let wanted = if status == StatusCode::OK { validators.send(asked, size) } else { Send::All };
        let (status, range) = match part(&mut headers, wanted, size, status) {
            Ok(part) => part,
            Err(status) => {
                headers.remove(header::CONTENT_ENCODING);
                return Ok(with(status, headers, Body::empty()));
            }
        };
        let is_head = self.parts.method == Method::HEAD;
        if let Some(coding) = coding {
            let body = if is_head { Body::empty() } else { self.packed(path, coding).await? };
            return Ok(with(status, headers, body));
        }
        put(&mut headers, header::CONTENT_LENGTH, &(range.end - range.start).to_string());
        if is_head {
            return Ok(with(status, headers, Body::empty()));
        }
        let reader = self.room.open_read(path, Some(range)).await.map_err(problem)?;
        Ok(with(status, headers, Body::from_stream(reader.blocks())))
    }

    async fn packed(&self, path: &str, coding: Coding) -> Result<Body, Problem> {
        let mut reader = self.room.open_read(path, None).await.map_err(problem)?;
        // It may have been replaced by a larger one since.
        let left = reader.left().min(*compress::BYTES.end());
        let mut text = Vec::with_capacity(usize::try_from(left).unwrap_or(0));
        while reader.left() > 0 {
            text.extend_from_slice(&reader.read(BLOCK_BYTES).await.map_err(problem)?);
            if text.len() as u64 > *compress::BYTES.end() {
                return Err(Problem::unavailable("the file changes just now; try again"));
            }
        }
        let packed = tokio::task::spawn_blocking(move || coding.encode(&text)).await;
        let packed = packed.map_err(std::io::Error::other).and_then(|packed| packed);
        packed.map(Body::from).map_err(|error| {
            tracing::warn!(%error, "a file could not be compressed");
            Problem::unavailable("the file cannot be sent now; try again")
        })
    }
}

/// What is at a path; nothing where the path can be none.
async fn stat(room: &RoomFiles, path: &str) -> Result<Option<FileInfo>, Problem> {
    match room.stat(path).await {
        Err(error) if error.code() == RoomCode::StorageInvalidPath => Ok(None),
        found => found.map_err(problem),
    }
}

/// The page that is shown while a service is down.
pub async fn unavailable(shared: &Shared, site: &Site<'_>, page: &str) -> Option<Response<Body>> {
    let room = shared.files.room(site.room);
    let path = page.trim().trim_matches('/');
    let info = stat(&room, path).await.ok()?.filter(|info| !info.is_folder)?;
    let reader = room.open_read(path, None).await.ok()?;
    let mime = mime_guess::from_path(path).first_or_octet_stream();
    let mut headers = HeaderMap::new();
    put(
        &mut headers,
        header::CONTENT_TYPE,
        &content_type(mime.essence_str(), compress::is_text(mime.essence_str())),
    );
    put(&mut headers, header::CONTENT_LENGTH, &info.size.unwrap_or(0).to_string());
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    Some(with(StatusCode::SERVICE_UNAVAILABLE, headers, Body::from_stream(reader.blocks())))
}

fn joined(folder: &str, rest: &str) -> String {
    match (folder.trim_matches('/'), rest) {
        ("", rest) => rest.to_owned(),
        (folder, "") => folder.to_owned(),
        (folder, rest) => format!("{folder}/{rest}"),
    }
}

fn content_type(mime: &str, is_text: bool) -> String {
    let has_charset = is_text && (mime.starts_with("text/") || mime.ends_with("javascript"));
    if has_charset { format!("{mime}; charset=utf-8") } else { mime.to_owned() }
}

/// What the client is told of storage: nothing of its inside.
fn problem(error: BlobError) -> Problem {
    match error.code() {
        RoomCode::StorageNotFound | RoomCode::StorageInvalidPath => {
            Problem::not_found("there is no such file")
        }
        _ => {
            tracing::warn!(%error, "a file of a site cannot be read");
            Problem::unavailable("the file cannot be read now; try again")
        }
    }
}
