//! What was used (REST reference §5.16).

use crate::api::auth::{Access, Caller, InProject};
use crate::api::route::Route;
use crate::api::{Api, Problem};
use crate::id::ProjectId;
use crate::llm::Provider;
use crate::llm::usage::{Account, Filter, HOUR_MS, Sums};
use crate::spec::llm::Dollars;
use axum::Json;
use axum::extract::{Query, State};
use axum::http::Method;
use axum::routing::get;
use chrono::{DateTime, Datelike, Utc};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;

const DAY_MS: i64 = 24 * HOUR_MS;

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::new(
            Method::GET,
            "/accounts/projects/{project_id}/usage",
            "get_usage",
            "What models were used in the project: by span, provider, model, room and user",
            Access::Account,
            get(of_project),
        ),
        Route::new(
            Method::GET,
            "/accounts/projects/{project_id}/llm-proxy/usage",
            "get_own_usage",
            "What models the caller used",
            Access::Member,
            get(of_caller),
        ),
    ]
}

/// What is asked; what is left out is not narrowed.
#[derive(Debug, Default, Deserialize)]
struct Asked {
    start: Option<DateTime<Utc>>,
    end: Option<DateTime<Utc>>,
    interval: Option<String>,
    users: Option<String>,
    room: Option<String>,
    provider: Option<String>,
    model: Option<String>,
    annotations: Option<String>,
}

async fn of_project(
    State(api): State<Api>,
    InProject(project): InProject,
    Query(asked): Query<Asked>,
) -> Result<Json<Value>, Problem> {
    let users: Vec<String> = asked.users.iter().flat_map(|all| all.split(',')).map(str::to_owned).collect();
    let users = (!users.is_empty()).then_some(users);
    answer(&api, project, &asked, users).await
}

async fn of_caller(
    State(api): State<Api>,
    caller: Caller,
    InProject(project): InProject,
    Query(asked): Query<Asked>,
) -> Result<Json<Value>, Problem> {
    answer(&api, project, &asked, Some(vec![caller.name().to_owned()])).await
}

async fn answer(
    api: &Api,
    project: ProjectId,
    asked: &Asked,
    users: Option<Vec<String>>,
) -> Result<Json<Value>, Problem> {
    let span = Span::read(asked.interval.as_deref())?;
    let wanted: BTreeMap<String, String> = match asked.annotations.as_deref() {
        None | Some("") => BTreeMap::new(),
        Some(text) => serde_json::from_str(text).map_err(|error| {
            Problem::bad_request(format!("`annotations` is a JSON object of texts: {error}"))
        })?,
    };
    let filter = asked.filter(project)?;
    let mut rows: BTreeMap<Account, Sums> = BTreeMap::new();
    for (mut account, sums) in api.llm.ledger.rows(&filter, span.rows_ms()).await? {
        let named = users.as_ref().is_none_or(|users| users.contains(&account.user));
        let noted = wanted.iter().all(|(name, value)| account.annotations.get(name) == Some(value));
        if named && noted {
            account.hour_ms = span.start(account.hour_ms);
            *rows.entry(account).or_default() += sums;
        }
    }
    let rows: Vec<Value> = rows.iter().map(|(account, sums)| row(account, sums, &span)).collect();
    Ok(Json(json!({"usage": rows})))
}

impl Asked {
    fn filter(&self, project: ProjectId) -> Result<Filter, Problem> {
        let some = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        let provider = match some(&self.provider) {
            None => None,
            Some(name) => Some(Provider::named(&name).ok_or_else(|| {
                Problem::bad_request(format!("no provider `{name}`; there are openai, anthropic and grok"))
            })?),
        };
        // Hours are the shortest spans: the one in which the start falls counts whole.
        let hour = |at: DateTime<Utc>| at.timestamp_millis().div_euclid(HOUR_MS) * HOUR_MS;
        Ok(Filter {
            from_ms: self.start.map_or(i64::MIN, hour),
            to_ms: self.end.map_or(i64::MAX, |at| at.timestamp_millis()),
            provider,
            model: some(&self.model),
            room: some(&self.room),
            ..Filter::all(project)
        })
    }
}

/// How rows are put together in time.
enum Span {
    Hour,
    Day,
    Month,
    Whole,
}

impl Span {
    fn read(text: Option<&str>) -> Result<Self, Problem> {
        Ok(match text.map(str::to_ascii_lowercase).as_deref() {
            Some("hour" | "hourly" | "1h") => Self::Hour,
            Some("day" | "daily" | "1d") => Self::Day,
            Some("month" | "monthly") => Self::Month,
            None | Some("" | "total" | "none" | "all") => Self::Whole,
            Some(other) => {
                return Err(Problem::bad_request(format!(
                    "no interval `{other}`; there are hour, day, month, total"
                )));
            }
        })
    }

    fn rows_ms(&self) -> i64 {
        match self {
            Self::Hour => HOUR_MS,
            Self::Day | Self::Month => DAY_MS,
            Self::Whole => i64::MAX,
        }
    }

    fn start(&self, row_ms: i64) -> i64 {
        let month = |at: DateTime<Utc>| at.with_day(1).map(|at| at.timestamp_millis());
        match self {
            Self::Month => DateTime::from_timestamp_millis(row_ms).and_then(month).unwrap_or(row_ms),
            Self::Hour | Self::Day | Self::Whole => row_ms,
        }
    }
}

fn row(account: &Account, sums: &Sums, span: &Span) -> Value {
    let start = match span {
        Span::Whole => None,
        _ => DateTime::from_timestamp_millis(account.hour_ms),
    };
    json!({
        "start": start.map(|at| at.to_rfc3339_opts(chrono::SecondsFormat::Secs, true)),
        "provider": account.provider,
        "model": account.model,
        "room": account.room,
        "user": account.user,
        "delegation": account.delegation,
        "annotations": account.annotations,
        "requests": sums.requests,
        "estimated_requests": sums.estimated,
        "input_tokens": sums.tokens.input,
        "cached_tokens": sums.tokens.cached,
        "cache_write_tokens": sums.tokens.cache_write,
        "output_tokens": sums.tokens.output,
        "reasoning_tokens": sums.tokens.reasoning,
        "total_tokens": sums.total_tokens(),
        "cost": Dollars::of_nanos(sums.cost_nanos),
    })
}
