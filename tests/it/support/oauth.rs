//! An authorization server, small enough to steer: refresh tokens are good for one use, codes want PKCE, and clients
//! may make themselves known.

use axum::extract::{Form, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::sync::watch;

/// What the server gives and saw.
#[derive(Debug, Default)]
pub struct Told {
    /// The refresh token that is good now.
    pub refresh: String,
    /// Seconds that access tokens are good for.
    pub lifetime: u64,
    /// Tokens given so far; the next one is `access-N`.
    pub given: usize,
    /// Forms that were sent.
    pub forms: Vec<HashMap<String, String>>,
    /// The challenge of the sign-in under way.
    challenge: String,
}

#[derive(Debug, Clone)]
pub struct AuthServer {
    pub address: SocketAddr,
    pub told: Arc<Mutex<Told>>,
    /// Tokens that are given leave once this is open; it is from the start.
    pub gate: Arc<watch::Sender<bool>>,
}

impl AuthServer {
    /// Gives tokens for `refresh` that are good for so many seconds.
    pub async fn start(refresh: &str, lifetime: u64) -> Self {
        let told = Told { refresh: refresh.to_owned(), lifetime, ..Told::default() };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Self {
            address: listener.local_addr().unwrap(),
            told: Arc::new(Mutex::new(told)),
            gate: Arc::new(watch::Sender::new(true)),
        };
        let router = Router::new()
            .route("/token", post(token))
            .route("/authorize", get(authorize))
            .route("/register", post(register))
            .route("/.well-known/oauth-authorization-server", get(metadata))
            .with_state(server.clone());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        server
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub fn given(&self) -> usize {
        self.told.lock().unwrap().given
    }
}

async fn metadata(State(server): State<AuthServer>) -> Json<Value> {
    Json(json!({
        "issuer": server.url(""), "authorization_endpoint": server.url("/authorize"), "token_endpoint": "/token",
        "registration_endpoint": server.url("/register"), "code_challenge_methods_supported": ["S256"],
    }))
}

async fn register(Json(about): Json<Value>) -> Response {
    match about["redirect_uris"][0].as_str() {
        Some(_) => (StatusCode::CREATED, Json(json!({"client_id": "registered"}))).into_response(),
        None => StatusCode::BAD_REQUEST.into_response(),
    }
}

/// Signs everybody in at once.
async fn authorize(
    State(server): State<AuthServer>,
    Query(query): Query<HashMap<String, String>>,
) -> Response {
    server.told.lock().unwrap().challenge = query.get("code_challenge").cloned().unwrap_or_default();
    let back = format!("{}?code=the-code&state={}", query["redirect_uri"], query["state"]);
    (StatusCode::FOUND, [(header::LOCATION, back)]).into_response()
}

async fn token(State(server): State<AuthServer>, Form(form): Form<HashMap<String, String>>) -> Response {
    let answer = given(&server, form);
    // The old refresh token is used up whether or not anybody hears the answer.
    server.gate.subscribe().wait_for(|open| *open).await.unwrap();
    answer
}

fn given(server: &AuthServer, form: HashMap<String, String>) -> Response {
    let mut told = server.told.lock().unwrap();
    told.forms.push(form.clone());
    let field = |name: &str| form.get(name).map(String::as_str).unwrap_or_default();
    let good = match field("grant_type") {
        "refresh_token" => field("refresh_token") == told.refresh,
        "authorization_code" => {
            let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(field("code_verifier")));
            field("code") == "the-code" && challenge == told.challenge
        }
        "client_credentials" => field("client_secret") == "client-s3cr3t",
        _ => false,
    };
    if !good {
        // As unkind servers do, it tells what was sent.
        let answer = json!({"error": "invalid_grant", "error_description": format!("no: {form:?}")});
        return (StatusCode::BAD_REQUEST, Json(answer)).into_response();
    }
    told.given += 1;
    told.refresh = format!("refresh-{}", told.given);
    let answer = json!({"access_token": format!("access-{}", told.given), "token_type": "Bearer",
        "expires_in": told.lifetime, "refresh_token": told.refresh});
    Json(answer).into_response()
}
