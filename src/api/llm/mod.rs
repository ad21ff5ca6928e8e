//! The proxy of model providers: `/openai/v1`, `/anthropic`, `/grok/v1`, what projects set about them, and what was used
//! (REST reference §5.16, §5.17, §9).
//!
//! Decides who may use which model; how a request goes out and what its answer used is [`crate::llm`]'s.

mod admit;
mod asked;
mod connect;
mod count;
mod forward;
mod logged;
mod refusal;
mod router;
mod settings;
mod socket;
mod spend;
mod usage;

pub(super) use admit::admit;

use super::auth::Access;
use super::route::Route;
use super::{Api, Problem};
use crate::id::ProjectId;
use crate::llm::router::Policy;
use crate::llm::upstream::{Upstream, Upstreams};
use crate::llm::usage::Ledger;
use crate::llm::{AT_ONCE_MAX, AT_ONCE_PER_PROJECT_MAX, Operation, Provider, REQUESTS_BYTES_MAX};
use crate::net::hop::asks_for_socket;
use crate::share::{Place, Places};
use admit::User;
use axum::Extension;
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, delete, get, post, put};
use refusal::Refusal;
use std::sync::Arc;
use tokio::sync::Semaphore;

/// What the proxy keeps between requests.
#[derive(Debug)]
pub struct Llm {
    pub upstreams: Upstreams,
    pub ledger: Arc<Ledger>,
    /// Requests that are being passed on.
    slots: Arc<Places<ProjectId>>,
    policies: router::Policies,
    records: logged::Bounds,
    /// Bytes that bodies may still take.
    bodies: Arc<Semaphore>,
    /// Large requests that may still be held to rules.
    looks: Semaphore,
}

impl Llm {
    #[must_use]
    pub fn new(upstreams: Upstreams, ledger: Arc<Ledger>) -> Self {
        let bodies = Arc::new(Semaphore::new(REQUESTS_BYTES_MAX));
        let slots = Places::new(AT_ONCE_MAX, AT_ONCE_PER_PROJECT_MAX);
        let (policies, records) = (router::Policies::default(), logged::Bounds::default());
        let looks = Semaphore::new(router::LOOKS_MAX);
        Self { upstreams, ledger, slots, policies, records, bodies, looks }
    }
}

/// A place among them, held until the answer ends.
type Slot = Place<ProjectId>;

/// Where each provider is on this server.
const PREFIXES: [(Provider, &str, &str); 3] = [
    (Provider::OpenAi, "/openai/v1/", "/openai/v1/{*path}"),
    (Provider::Anthropic, "/anthropic/", "/anthropic/{*path}"),
    (Provider::Grok, "/grok/v1/", "/grok/v1/{*path}"),
];

pub(super) fn routes() -> Vec<Route> {
    let mut all = Vec::new();
    for (provider, _, path) in PREFIXES {
        let names = match provider {
            Provider::OpenAi => ["openai_get", "openai_post", "openai_put", "openai_delete"],
            Provider::Anthropic => ["anthropic_get", "anthropic_post", "anthropic_put", "anthropic_delete"],
            Provider::Grok => ["grok_get", "grok_post", "grok_put", "grok_delete"],
        };
        let handlers: [(Method, MethodRouter<Api>); 4] = [
            (Method::GET, get(pass)),
            (Method::POST, post(pass)),
            (Method::PUT, put(pass)),
            (Method::DELETE, delete(pass)),
        ];
        for ((method, handler), name) in handlers.into_iter().zip(names) {
            let summary = "Pass a request on to the model provider";
            all.push(Route::new(method, path, name, summary, Access::Models, handler));
        }
    }
    all.extend(connect::routes());
    all.extend(settings::routes());
    all.extend(usage::routes());
    all
}

/// One request to a provider.
async fn pass(State(api): State<Api>, Extension(user): Extension<User>, request: Request) -> Response {
    passed(&api, user, request).await.unwrap_or_else(IntoResponse::into_response)
}

async fn passed(api: &Api, user: User, request: Request) -> Result<Response, Refusal> {
    let operation = operation(request.uri().path())?;
    user.check_provider(operation.provider)?;
    let policy = router::policy(api, user.project)?;
    policy.check_app(request.headers())?;
    check_listing(&user, &policy, &operation, request.method())?;
    let slot = api.llm.slots.take(user.project).ok_or_else(|| Refusal {
        status: StatusCode::TOO_MANY_REQUESTS,
        code: "busy",
        message: format!(
            "{AT_ONCE_PER_PROJECT_MAX} requests to models are under way for this project already; try again in a moment"
        ),
    })?;
    if api.llm.ledger.is_full() {
        return Err(Refusal {
            status: StatusCode::SERVICE_UNAVAILABLE,
            code: "busy",
            message: "what models are used cannot be recorded now; try again later".to_owned(),
        });
    }
    if asks_for_socket(request.headers()) {
        return socket::pass(api, user, operation, request, slot).await;
    }
    forward::pass(api, user, operation, request, slot).await
}

fn operation(path: &str) -> Result<Operation, Refusal> {
    let of = |(provider, prefix, _): &(Provider, &str, &str)| {
        path.strip_prefix(prefix).map(|below| (*provider, below.to_owned()))
    };
    let found = PREFIXES.iter().find_map(of);
    let operation = found.and_then(|(provider, below)| Operation::of(provider, &below));
    operation.ok_or_else(|| Refusal {
        status: StatusCode::NOT_FOUND,
        code: "not-found",
        message: format!("`{path}` is not passed on to a provider; models are asked by responses, chat, messages, embeddings, images, audio and realtime"),
    })
}

/// What tells of models is only read, and tells a restricted credential of its own models only.
fn check_listing(
    user: &User,
    policy: &Policy,
    operation: &Operation,
    method: &Method,
) -> Result<(), Refusal> {
    if operation.lists && *method != Method::GET {
        return Err(Refusal {
            status: StatusCode::METHOD_NOT_ALLOWED,
            code: "invalid-request",
            message: format!("`{}` is only read here; send GET", operation.path),
        });
    }
    let Some(model) = operation.named_model() else { return Ok(()) };
    user.check_model(operation.provider, model)?;
    Ok(policy.check_model(operation.provider, model)?)
}

/// Who is asked: the project's own provider, else the operator's.
async fn upstream(api: &Api, project: ProjectId, operation: &Operation) -> Result<Arc<Upstream>, Refusal> {
    let provider = operation.provider;
    let Some(own) = api.app.settings_document(project, provider.name()) else {
        if operation.stored {
            // All projects share the server's key, and so what is kept under it.
            return Err(Refusal::forbidden(format!(
                "`{}` reaches what is kept under the provider's key, which is the server's; set a key of the project's own with `meshagent llm provider set {provider}`",
                operation.path
            )));
        }
        return api.llm.upstreams.operator(provider).ok_or_else(|| Refusal {
            status: StatusCode::NOT_FOUND,
            code: "provider-not-configured",
            message: format!(
                "no key for {provider} here; set the project's with `meshagent llm provider set {provider}`, or start the server with {}_API_KEY",
                provider.name().to_uppercase()
            ),
        });
    };
    if let Some(known) = api.llm.upstreams.known(own.revision) {
        return Ok(known);
    }
    let secret = api.app.settings_secret(project, &own).await.map_err(Problem::from)?;
    let endpoint = settings::endpoint(&own, secret).map_err(Problem::bad_request)?;
    Ok(api.llm.upstreams.tenant(own.revision, provider, &endpoint).await?)
}
