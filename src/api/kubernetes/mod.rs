//! The same resources as a Kubernetes API, for `kubectl` and its relatives: the custom resources of [`crate::crd`], each
//! project a namespace. ADR 0016 says why this is a second spelling of the REST edge and no edge of its own.
//!
//! It keeps nothing: reads and watches come from the projection as those of [`super::resources`], writes go through the
//! planner, and callers are who they are everywhere else. It knows no other edge, and none of the controllers but what they
//! say of health.

mod discovery;
mod fields;
mod list;
mod namespaces;
mod object;
mod openapi;
mod options;
mod patch;
mod refusal;
mod review;
mod select;
mod sent;
mod swagger;
mod table;
mod watch;
mod wish;
mod write;

use super::Api;
use super::auth::{Caller, bearer, identify};
use crate::app::plan::Resource;
use crate::crd::names::{self, GROUP, VERSION};
use crate::spec::ProjectRole;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use namespaces::Namespace;
use options::Options;
use refusal::Refusal;
use serde_json::Value;

/// Where questions about rights are asked.
const REVIEWS: &str = "authorization.k8s.io";

/// Everything below these paths is answered as Kubernetes would.
pub(super) fn router() -> Router<Api> {
    let paths = ["/version", "/api", "/apis", "/api/{*rest}", "/apis/{*rest}", "/openapi/{*rest}"];
    paths.into_iter().fold(Router::new(), |router, path| router.route(path, any(serve)))
}

/// A request, taken apart.
struct Asked {
    api: Api,
    caller: Caller,
    parts: Parts,
    options: Options,
    body: Bytes,
}

impl Asked {
    fn header(&self, name: header::HeaderName) -> &str {
        self.parts.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// Refused unless it comes from a service account, to which everything of its project is open, or from somebody who
    /// manages the project.
    fn account(&self) -> Result<(), Refusal> {
        match &self.caller {
            Caller::Account { .. } => Ok(()),
            Caller::User(user) => {
                user.must(ProjectRole::Admin).map_err(|problem| Refusal::forbidden(problem.message))
            }
            Caller::Participant(_) => Err(Refusal::forbidden(
                "participant tokens cannot read or change resources; use an API key of the project",
            )),
        }
    }

    /// The body as JSON, or as YAML.
    fn body(&self) -> Result<Value, Refusal> {
        sent::read(&self.body)
    }
}

async fn serve(State(api): State<Api>, request: Request) -> Response {
    match answer(api, request).await {
        Ok(response) => response,
        Err(refusal) => refusal.into_response(),
    }
}

async fn answer(api: Api, request: Request) -> Result<Response, Refusal> {
    let path = request.uri().path().to_owned();
    let segments: Vec<String> = path.split('/').filter(|part| !part.is_empty()).map(decoded).collect();
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    if segments == ["version"] {
        return Ok(json(&discovery::version()));
    }
    let (parts, body) = request.into_parts();
    let caller = identify(&api.app, bearer(&parts.headers)).await?;
    let options = Options::of(parts.uri.query().unwrap_or_default())?;
    let body = whole(body).await?;
    let asked = Asked { api, caller, parts, options, body };
    if asked.parts.method == Method::GET
        && let Some(document) = openapi::answer(&segments, &asked)
    {
        return Ok(document);
    }
    if asked.parts.method == Method::GET
        && let Some(document) = discovery::answer(&segments)
    {
        return Ok(json(&document));
    }
    match segments.as_slice() {
        ["api", "v1", "namespaces"] => namespaces::all(&asked),
        ["api", "v1", "namespaces", name] => namespaces::one(&asked, name),
        ["apis", REVIEWS, "v1", "selfsubjectaccessreviews"] if asked.parts.method == Method::POST => {
            review::access(&asked)
        }
        ["apis", GROUP, VERSION, plural] => everywhere(asked, resource(plural)?).await,
        ["apis", GROUP, VERSION, "namespaces", namespace, plural] => {
            let resource = resource(plural)?;
            let namespace = namespaces::find(&asked, namespace)?;
            collection(asked, resource, namespace).await
        }
        ["apis", GROUP, VERSION, "namespaces", namespace, plural, name] => {
            let resource = resource(plural)?;
            let namespace = namespaces::find(&asked, namespace)?;
            single(asked, resource, namespace, name).await
        }
        _ => Err(Refusal::no_path(&path)),
    }
}

/// A part of a path without its percent signs.
fn decoded(part: &str) -> String {
    let pair = format!("x={}", part.replace('+', "%2B").replace('&', "%26"));
    url::form_urlencoded::parse(pair.as_bytes()).next().map(|(_, text)| text.into_owned()).unwrap_or_default()
}

async fn whole(body: Body) -> Result<Bytes, Refusal> {
    axum::body::to_bytes(body, super::body::BODY_BYTES_MAX).await.map_err(|_| Refusal::too_large())
}

/// The kind whose objects a path is about.
fn resource(plural: &str) -> Result<&'static dyn Resource, Refusal> {
    names::kinds()
        .find(|resource| names::plural(resource.kind()) == plural)
        .ok_or_else(|| Refusal::no_path(&format!("/apis/{GROUP}/{VERSION}/{plural}")))
}

/// The objects of a kind in every project that the caller may see.
async fn everywhere(asked: Asked, resource: &'static dyn Resource) -> Result<Response, Refusal> {
    asked.account()?;
    match asked.parts.method {
        Method::GET => {
            let namespaces = namespaces::visible(&asked);
            list::answer(asked, resource, namespaces).await
        }
        _ => Err(Refusal::no_method(&asked.parts.method)),
    }
}

async fn collection(
    asked: Asked,
    resource: &'static dyn Resource,
    namespace: Namespace,
) -> Result<Response, Refusal> {
    asked.account()?;
    match asked.parts.method {
        Method::GET => list::answer(asked, resource, vec![namespace]).await,
        Method::POST => write::create(&asked, resource, namespace).await,
        _ => Err(Refusal::no_method(&asked.parts.method)),
    }
}

async fn single(
    asked: Asked,
    resource: &'static dyn Resource,
    namespace: Namespace,
    name: &str,
) -> Result<Response, Refusal> {
    asked.account()?;
    match asked.parts.method {
        Method::GET => list::one(&asked, resource, &namespace, name),
        Method::PUT | Method::PATCH => write::change(&asked, resource, namespace, name).await,
        Method::DELETE => write::delete(&asked, resource, namespace, name).await,
        _ => Err(Refusal::no_method(&asked.parts.method)),
    }
}

fn json(value: &Value) -> Response {
    json_as(StatusCode::OK, value)
}

fn json_as(status: StatusCode, value: &Value) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], value.to_string()).into_response()
}
