//! `/proxy-request`: a request to another host, with a secret in its headers that the caller never sees.
//!
//! Whose secret it may be is [`crate::app::secrets::use_of`]'s, where it may go [`crate::net::guard`]'s to say. Bodies
//! pass as they come, both ways. Neither the target's URL nor a header is ever logged.

mod forward;
mod headers;
mod socket;

use super::auth::{Access, Caller};
use super::route::Route;
use super::{Api, Problem};
use crate::app::secrets::use_of::{Acting, acting_for};
use crate::net::guard::{self, Refused, Target};
use crate::net::hop::asks_for_socket;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::response::Response;
use axum::routing::{MethodRouter, delete, get, patch, post, put};
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Requests that are passed on at once.
pub const AT_ONCE_MAX: usize = 1_024;
/// Headers of one request that may come from secrets.
pub const SECRET_HEADERS_MAX: usize = 16;

/// A place among [`AT_ONCE_MAX`], held until the answer's body ends.
pub(super) type Turn = OwnedSemaphorePermit;

static TURNS: std::sync::LazyLock<std::sync::Arc<Semaphore>> =
    std::sync::LazyLock::new(|| std::sync::Arc::new(Semaphore::new(AT_ONCE_MAX)));

pub(super) fn routes() -> Vec<Route> {
    let row = |method: Method, name, handler: MethodRouter<Api>| {
        let summary = "Pass a request on to `url`, with a secret in its headers";
        Route::new(method, "/proxy-request", name, summary, Access::SignedIn, handler)
    };
    vec![
        row(Method::GET, "proxy_get", get(proxy)),
        row(Method::POST, "proxy_post", post(proxy)),
        row(Method::PUT, "proxy_put", put(proxy)),
        row(Method::PATCH, "proxy_patch", patch(proxy)),
        row(Method::DELETE, "proxy_delete", delete(proxy)),
    ]
}

/// What is asked, in the query.
#[derive(Default)]
struct Asked {
    url: Option<String>,
    secret_id: Option<String>,
    secret_headers: Option<String>,
    user: Option<String>,
}

/// One header from a secret.
#[derive(Deserialize)]
struct FromSecret {
    #[serde(default)]
    name: Option<String>,
    secret_id: String,
    #[serde(default)]
    prefix: Option<String>,
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Invalid(text) => Self::bad_request(text),
            Refused::NotPublic(_) => Self::forbidden(refused.to_string()),
            Refused::NotResolved { .. } | Refused::Client(_) => bad_gateway(refused.to_string()),
        }
    }
}

pub(super) fn bad_gateway(text: impl Into<String>) -> Problem {
    Problem::new(StatusCode::BAD_GATEWAY, "upstream-unreachable", text)
}

async fn proxy(State(api): State<Api>, caller: Caller, request: Request) -> Result<Response, Problem> {
    let acting = acting(&api, &caller)?;
    let asked = Asked::read(request.uri().query().unwrap_or_default());
    let url = asked.url.as_deref().ok_or_else(|| Problem::bad_request("give the target as `url`"))?;
    // Permission first: who may use no secret learns nothing of addresses.
    let secrets = asked.headers(&api, acting).await?;
    // Only now: who waits for a fresh access token keeps nobody else from being served.
    let turn = std::sync::Arc::clone(&TURNS).try_acquire_owned().map_err(|_| {
        Problem::new(
            StatusCode::TOO_MANY_REQUESTS,
            "busy",
            format!("{AT_ONCE_MAX} requests are being passed on already; try again in a moment"),
        )
    })?;
    let target: Target = guard::check(url, &api.outward.allowed).await?;
    if asks_for_socket(request.headers()) {
        return socket::pass(&target, request, secrets, turn).await;
    }
    forward::pass(&target, request, secrets, turn).await
}

/// The service account that a caller acts as.
fn acting(api: &Api, caller: &Caller) -> Result<Acting, Problem> {
    let bearer = match caller {
        Caller::Account { id, .. } => return Ok(Acting { account: *id, itself: true }),
        Caller::Participant(bearer) => bearer,
        Caller::User(_) => {
            return Err(Problem::forbidden(
                "people use no secrets here; use an API key, or a service with `run_as`",
            ));
        }
    };
    let world = api.app.world();
    if let Some(service) = bearer.service {
        return Ok(acting_for(&world, service)?);
    }
    // Whoever holds an account's key may hand its secrets on, by saying so in the token.
    let granted = bearer.api.as_ref().is_some_and(|scope| scope.secrets.is_some());
    let account = bearer.key.filter(|_| granted).and_then(|key| world.key(key)).map(|key| key.account);
    account.map(|account| Acting { account, itself: true }).ok_or_else(|| {
        Problem::forbidden(
            "this participant token may use no secrets; use an API key, a service with `run_as`, or a token with the `secrets` grant",
        )
    })
}

impl Asked {
    fn read(query: &str) -> Self {
        let mut asked = Self::default();
        for (key, value) in url::form_urlencoded::parse(query.as_bytes()) {
            let field = match key.as_ref() {
                "url" => &mut asked.url,
                "secret-id" => &mut asked.secret_id,
                "secret-headers" => &mut asked.secret_headers,
                "user" => &mut asked.user,
                _ => continue,
            };
            *field = Some(value.into_owned()).filter(|text| !text.is_empty());
        }
        asked
    }

    /// The headers that come from secrets.
    async fn headers(&self, api: &Api, acting: Acting) -> Result<HeaderMap, Problem> {
        let wanted = self.wanted()?;
        if wanted.is_empty() {
            return Err(Problem::bad_request("say which secret to use: give its id as `secret-id`"));
        }
        let mut map = HeaderMap::new();
        for (name, from) in wanted {
            let user = self.user.as_deref();
            let used = api.app.proxied_secret(&api.outward, acting, &from.secret_id, user).await?;
            let (value, kind) = (used.value, used.kind);
            let text = match &from.prefix {
                Some(prefix) => headers::prefixed(prefix, &value),
                None => headers::authorization(&value, &kind),
            };
            let mut header: HeaderValue = text.ok_or_else(|| {
                Problem::bad_request(format!(
                    "secret `{}` has bytes that no header can carry; store it as one line of text",
                    from.secret_id
                ))
            })?;
            header.set_sensitive(true);
            map.insert(name, header);
        }
        Ok(map)
    }

    fn wanted(&self) -> Result<Vec<(HeaderName, FromSecret)>, Problem> {
        let mut all = Vec::new();
        if let Some(id) = &self.secret_id {
            let from = FromSecret { name: None, secret_id: id.clone(), prefix: None };
            all.push((axum::http::header::AUTHORIZATION, from));
        }
        if let Some(json) = &self.secret_headers {
            all.extend(read_list(json)?);
        }
        if all.len() > SECRET_HEADERS_MAX {
            return Err(Problem::bad_request(format!(
                "at most {SECRET_HEADERS_MAX} headers may come from secrets"
            )));
        }
        Ok(all)
    }
}

/// `{"header": {"secret_id", "prefix"?}}`, or a list of `{"name", "secret_id", "prefix"?}`.
fn read_list(json: &str) -> Result<Vec<(HeaderName, FromSecret)>, Problem> {
    let bad = |why: &str| {
        Problem::bad_request(format!(
            "`secret-headers` is JSON such as {{\"x-api-key\": {{\"secret_id\": \"ID\", \"prefix\": \"\"}}}}: {why}"
        ))
    };
    let named: Vec<(String, FromSecret)> = match serde_json::from_str::<Value>(json) {
        Ok(Value::Object(map)) => map
            .into_iter()
            .map(|(name, value)| serde_json::from_value(value).map(|from| (name, from)))
            .collect::<Result<_, _>>()
            .map_err(|error| bad(&error.to_string()))?,
        Ok(list @ Value::Array(_)) => {
            let list: Vec<FromSecret> =
                serde_json::from_value(list).map_err(|error| bad(&error.to_string()))?;
            list.into_iter().map(|from| (from.name.clone().unwrap_or_default(), from)).collect()
        }
        _ => return Err(bad("it is neither an object nor a list")),
    };
    let read = |(name, mut from): (String, FromSecret)| {
        let header = HeaderName::from_bytes(name.as_bytes())
            .ok()
            .filter(headers::may_be_set)
            .ok_or_else(|| bad(&format!("`{name}` is no header that may be set")))?;
        from.prefix = Some(from.prefix.unwrap_or_default());
        Ok((header, from))
    };
    named.into_iter().map(read).collect()
}
