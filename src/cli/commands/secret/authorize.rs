//! `meshagent secret authorize`: a person signs in to another service in a browser, and what comes of it is kept as a
//! secret of the type `oauth` (authorization code with PKCE, RFC 6749, 7636 and 8252). Codes and tokens pass between
//! this machine, the other service and the server only, and are never printed.

use super::args::Authorize;
use super::{of, set};
use crate::cli::args;
use crate::cli::error::CliError;
use crate::cli::output;
use crate::client::rest::{ProjectRest, Secrets};
use crate::clock::{Clock, System};
use crate::net::guard::{self, Allowed, Refused};
use crate::net::metadata::{self, Endpoints};
use crate::net::oauth::{self, Client, TokenError, Tokens};
use crate::vault::Secret;
use axum::Router;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::routing::get;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use url::Url;

/// How long the person may take.
const SIGN_IN_WAIT: Duration = Duration::from_mins(10);
/// How long a service may take to make a client known.
const REGISTER_WAIT: Duration = Duration::from_secs(30);
/// How long the browser may take for the last page.
const GOODBYE_WAIT: Duration = Duration::from_secs(5);
/// Random bytes of the state and of the verifier.
const RANDOM_BYTES: usize = 32;
const CALLBACK: &str = "/callback";

/// The client that a person gives consent to.
struct OwnClient {
    id: String,
    secret: Option<String>,
}

pub async fn run(project: &ProjectRest, args: Authorize) -> Result<(), CliError> {
    let secrets = of(project, &args.subject.subject).await?;
    let allowed = named(&args);
    let endpoints = endpoints(&args, &allowed).await?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, args.port)).await.map_err(|error| {
        CliError::user(format!("cannot listen on 127.0.0.1:{} for the answer: {error}", args.port))
            .hint("choose another --port, one that the client may be sent back to")
    })?;
    let redirect = format!("http://127.0.0.1:{}{CALLBACK}", listener.local_addr()?.port());
    let client = match &args.client_id {
        Some(id) => OwnClient { id: id.clone(), secret: client_secret(args.client_secret_file.as_deref())? },
        None => register(&endpoints, &redirect, &allowed).await?,
    };
    let (state, verifier) = (random()?, random()?);
    let verifier = (!args.no_pkce && endpoints.pkce != Some(false)).then_some(verifier);
    let page = page(&endpoints, &client, &args, &redirect, &state, verifier.as_deref());
    output::note(format!("Sign in here, in a browser of this machine:\n{page}"));
    let code = answer(listener, state).await?;
    let mut form = vec![("grant_type", "authorization_code"), ("code", &code), ("redirect_uri", &redirect)];
    form.extend(verifier.as_deref().map(|verifier| ("code_verifier", verifier)));
    let asking =
        Client { id: &client.id, secret: client.secret.as_deref(), token_endpoint: endpoints.token.as_str() };
    let tokens = oauth::ask(asking, form, &allowed).await.map_err(|error| match error {
        TokenError::Address(Refused::NotPublic(host)) => within(&host),
        error => CliError::server(error.to_string()),
    })?;
    if tokens.refresh_token.is_none() {
        output::note("The service gave no refresh token: when the access token ends, run this again.");
    }
    let value = value(&endpoints, &client, &args.scopes, &tokens);
    output::line(keep(&secrets, &args, &value).await?)
}

/// Hosts that the person named, wherever they are. What a tool server names must be public: it could name a service of
/// this machine.
fn named(args: &Authorize) -> Allowed {
    let urls = [&args.mcp, &args.authorization_endpoint, &args.token_endpoint].into_iter().flatten();
    let hosts = urls.filter_map(Url::host_str).map(str::to_owned);
    Allowed::new(hosts.chain(args.allowed_hosts.iter().cloned()))
}

fn within(host: &str) -> CliError {
    CliError::user(format!("`{host}` is not a public address, and you did not name it"))
        .hint(format!("if the sign-in is meant to go there, add --allow-host {host}"))
}

async fn endpoints(args: &Authorize, allowed: &Allowed) -> Result<Endpoints, CliError> {
    let none = || CliError::usage("give --mcp URL, or --authorization-endpoint URL and --token-endpoint URL");
    if let Some(resource) = &args.mcp {
        let found = metadata::find(resource, allowed).await;
        let found = found.map_err(|error| CliError::server(error.to_string()))?;
        return found.ok_or_else(|| {
            CliError::user(format!("{resource} does not say where its tokens come from"))
                .hint("where it needs none, no secret is needed; else give the endpoints")
        });
    }
    Ok(Endpoints {
        authorization: args.authorization_endpoint.clone().ok_or_else(none)?,
        token: args.token_endpoint.clone().ok_or_else(none)?,
        registration: None,
        pkce: None,
    })
}

fn client_secret(file: Option<&Path>) -> Result<Option<String>, CliError> {
    let Some(file) = file else { return Ok(None) };
    Ok(Some(args::read_text(file)?.trim().to_owned()).filter(|secret| !secret.is_empty()))
}

fn random() -> Result<String, CliError> {
    let random = Secret::random(RANDOM_BYTES).map_err(|error| CliError::internal(error.to_string()))?;
    Ok(URL_SAFE_NO_PAD.encode(random.expose()))
}

/// Makes this program known as a client (RFC 7591).
async fn register(endpoints: &Endpoints, redirect: &str, allowed: &Allowed) -> Result<OwnClient, CliError> {
    let Some(at) = &endpoints.registration else {
        return Err(CliError::user("the service does not take clients that make themselves known").hint(
            "make a client there, and pass --client-id ID and, if it has one, --client-secret-file FILE",
        ));
    };
    let about = json!({
        "client_name": "meshagent", "redirect_uris": [redirect], "response_types": ["code"],
        "grant_types": ["authorization_code", "refresh_token"], "token_endpoint_auth_method": "none",
    });
    let failed = |why: String| CliError::server(format!("the service takes no new client: {why}"));
    let target = guard::check_url(at.clone(), allowed).await.map_err(|error| match error {
        Refused::NotPublic(host) => within(&host),
        error => failed(error.to_string()),
    })?;
    let http = target.client().map_err(|error| failed(error.to_string()))?.timeout(REGISTER_WAIT).build();
    let http = http.map_err(|error| failed(error.without_url().to_string()))?;
    let answer = http.post(target.url).json(&about).send().await;
    let answer = answer.map_err(|error| failed(error.without_url().to_string()))?;
    let status = answer.status();
    let known: Value = answer.json().await.unwrap_or_default();
    match known["client_id"].as_str().filter(|_| status.is_success()) {
        Some(id) => {
            let secret = known["client_secret"].as_str().map(str::to_owned);
            Ok(OwnClient { id: id.to_owned(), secret })
        }
        None => Err(failed(format!("status {}", status.as_u16()))),
    }
}

/// The address where the person signs in.
fn page(
    endpoints: &Endpoints,
    client: &OwnClient,
    args: &Authorize,
    redirect: &str,
    state: &str,
    verifier: Option<&str>,
) -> Url {
    let mut page = endpoints.authorization.clone();
    let mut query = page.query_pairs_mut();
    query.append_pair("response_type", "code").append_pair("client_id", &client.id);
    query.append_pair("redirect_uri", redirect).append_pair("state", state);
    if !args.scopes.is_empty() {
        query.append_pair("scope", &args.scopes.join(" "));
    }
    if let Some(resource) = &args.mcp {
        query.append_pair("resource", resource.as_str());
    }
    if let Some(verifier) = verifier {
        let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(verifier.as_bytes()));
        query.append_pair("code_challenge", &challenge).append_pair("code_challenge_method", "S256");
    }
    drop(query);
    page
}

type Answer = Result<String, String>;

/// Waits until the browser comes back with a code.
async fn answer(listener: TcpListener, state: String) -> Result<String, CliError> {
    let (given, mut answers) = mpsc::channel(1);
    let router = Router::new().route(CALLBACK, get(came_back)).with_state((state, given));
    let (over, stop) = oneshot::channel::<()>();
    let server = axum::serve(listener, router).with_graceful_shutdown(async move { drop(stop.await) });
    let server = tokio::spawn(server.into_future());
    let waited = tokio::select! {
        answer = tokio::time::timeout(SIGN_IN_WAIT, answers.recv()) => answer,
        _ = tokio::signal::ctrl_c() => return Err(CliError::exit(1)),
    };
    // The browser gets its page yet.
    drop(over);
    let _ = tokio::time::timeout(GOODBYE_WAIT, server).await;
    match waited {
        Ok(Some(Ok(code))) => Ok(code),
        Ok(Some(Err(why))) => Err(CliError::user(format!("the sign-in was refused: {why}"))),
        Ok(None) => Err(CliError::internal("nobody listens for the answer any more")),
        Err(_) => Err(CliError::user("nobody signed in within 10 minutes").hint("run the command again")),
    }
}

/// What the browser brings. Only who knows the state is listened to.
async fn came_back(
    State((state, given)): State<(String, mpsc::Sender<Answer>)>,
    Query(query): Query<HashMap<String, String>>,
) -> (StatusCode, &'static str) {
    if query.get("state") != Some(&state) {
        return (
            StatusCode::BAD_REQUEST,
            "This is not the sign-in that was asked for. Run the command again.\n",
        );
    }
    let answer = match (query.get("code"), query.get("error")) {
        (Some(code), None) => Ok(code.clone()),
        (_, error) => Err(error.cloned().unwrap_or_else(|| "no reason given".to_owned())),
    };
    let text =
        if answer.is_ok() { "Signed in. Close this page.\n" } else { "Not signed in. Close this page.\n" };
    // A second answer finds nobody waiting.
    let _ = given.try_send(answer);
    (StatusCode::OK, text)
}

fn value(endpoints: &Endpoints, client: &OwnClient, scopes: &[String], tokens: &Tokens) -> Vec<u8> {
    let ends = tokens.lifetime.map(|lifetime| (System.now() + lifetime).to_rfc3339());
    let value = json!({
        "grant_type": "authorization_code",
        "access_token": tokens.access_token.as_str(),
        "refresh_token": tokens.refresh_token.as_deref().map(String::as_str),
        "expires_at": ends,
        "token_endpoint": endpoints.token.as_str(),
        "client_id": client.id,
        "client_secret": client.secret,
        "scopes": scopes,
    });
    value.to_string().into_bytes()
}

/// Keeps the grant under its name, as a new version where there is a secret of that name; its id.
async fn keep(secrets: &Secrets, args: &Authorize, value: &[u8]) -> Result<String, CliError> {
    let named = |secret: &&Value| secret["name"] == args.name.as_str();
    let there = secrets.list(Some(&args.name)).await?;
    let there = there.iter().find(named).cloned();
    if let Some(other) = there.as_ref().filter(|secret| secret["type"] != "oauth") {
        let kind = other["type"].as_str().unwrap_or_default();
        return Err(CliError::user(format!(
            "the secret `{}` is there already, of the type {kind}",
            args.name
        ))
        .hint("choose another name"));
    }
    let secret = if let Some(secret) = there {
        secret
    } else {
        let mut about = Map::new();
        set(&mut about, "name", Some(args.name.clone().into()));
        set(&mut about, "type", Some("oauth".into()));
        set(&mut about, "http_only", Some((!args.not_http_only).into()));
        secrets.create(Value::Object(about)).await?
    };
    let id = secret["id"].as_str().unwrap_or_default().to_owned();
    secrets.add_version(&id, value, true).await?;
    Ok(id)
}
