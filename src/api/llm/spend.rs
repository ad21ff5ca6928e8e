//! Whether a user may still spend: the project's budgets, and what a delegation allows.

use super::admit::User;
use super::refusal::Refusal;
use crate::api::{Api, Problem};
use crate::llm::budget::{Spender, counted, exhausted, price};
use crate::llm::usage::{Filter, UsageError};
use crate::llm::{Operation, Provider};
use crate::spec::llm::{Budgets, Dollars, Price};
use axum::http::StatusCode;
use serde_json::Value;

impl From<UsageError> for Problem {
    fn from(error: UsageError) -> Self {
        let message = error.to_string();
        match error {
            UsageError::Many => Self::bad_request(message),
            UsageError::Store(_) => Self::new(StatusCode::SERVICE_UNAVAILABLE, "busy", message),
        }
    }
}

/// The project's budgets; none where it set none.
pub(super) fn budgets(api: &Api, user: &User) -> Budgets {
    let settings = api.app.settings_document(user.project, super::settings::BUDGETS);
    let read = settings.map(|settings| serde_json::from_value(Value::Object(settings.document)));
    read.and_then(Result::ok).unwrap_or_default()
}

/// Lets a request pass, or says what is used up. Answers the model's price, where it has one.
pub(super) async fn check(
    api: &Api,
    user: &User,
    operation: &Operation,
    model: &str,
) -> Result<Option<Price>, Refusal> {
    let budgets = budgets(api, user);
    let price = price(&budgets.prices, operation.provider, model).copied();
    let uses = operation.generates || operation.unmetered || operation.takes_socket();
    if !uses {
        return Ok(price);
    }
    delegated(api, user, operation, model, price.as_ref()).await?;
    let spender = Spender {
        project: user.project,
        provider: operation.provider,
        model,
        room: &user.room,
        user: &user.name,
    };
    let now = api.app.clock.now();
    for limit in &budgets.limits {
        let Some(filter) = counted(limit, &spender, now) else { continue };
        if operation.unmetered {
            return Err(unmetered());
        }
        if limit.dollars.is_some() && price.is_none() {
            return Err(unpriced(operation.provider, model));
        }
        let used = api.llm.ledger.sum(&filter).await.map_err(Problem::from)?;
        if let Some(why) = exhausted(limit, &used) {
            return Err(spent(format!("{why}; wait for the next {}, or raise it", limit.per)));
        }
    }
    Ok(price)
}

/// Refuses what no budget can hold, where one is about every model: before anything of the request is read.
pub(super) fn check_unmetered(api: &Api, user: &User, operation: &Operation) -> Result<(), Refusal> {
    if !operation.unmetered {
        return Ok(());
    }
    let spender = Spender {
        project: user.project,
        provider: operation.provider,
        model: "",
        room: &user.room,
        user: &user.name,
    };
    let now = api.app.clock.now();
    let limited = budgets(api, user).limits.iter().any(|limit| counted(limit, &spender, now).is_some());
    if limited || user.delegation.is_some() { Err(unmetered()) } else { Ok(()) }
}

async fn delegated(
    api: &Api,
    user: &User,
    operation: &Operation,
    model: &str,
    price: Option<&Price>,
) -> Result<(), Refusal> {
    let Some(delegation) = &user.delegation else { return Ok(()) };
    if operation.unmetered {
        return Err(unmetered());
    }
    if price.is_none() {
        return Err(unpriced(operation.provider, model));
    }
    let filter = Filter { delegation: Some(delegation.id), ..Filter::all(user.project) };
    let used = api.llm.ledger.sum(&filter).await.map_err(Problem::from)?;
    if used.cost_nanos < delegation.max_budget.nanos() {
        return Ok(());
    }
    Err(spent(format!(
        "budget of the delegation exhausted: {} of {} dollars are used; make a new one with POST /llm/connect",
        Dollars::of_nanos(used.cost_nanos),
        delegation.max_budget
    )))
}

fn spent(message: String) -> Refusal {
    Refusal { status: StatusCode::PAYMENT_REQUIRED, code: "budget-exhausted", message }
}

fn unmetered() -> Refusal {
    Refusal::forbidden(
        "what this request uses is told elsewhere and later, so that no budget can hold it; use a request that answers at once",
    )
}

fn unpriced(provider: Provider, model: &str) -> Refusal {
    Refusal {
        status: StatusCode::FORBIDDEN,
        code: "model-unpriced",
        message: format!(
            "`{provider}/{model}` has no price, so that a budget in dollars cannot hold it; set one in the project's `budgets` settings"
        ),
    }
}
