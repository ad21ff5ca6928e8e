//! Budgets: how much may be used in an hour, a day or a month, of whom and of which models. Pure.

use super::Provider;
use super::usage::{Filter, Sums};
use crate::id::ProjectId;
use crate::spec::llm::{Each, Limit, Price, Prices, Span};
use chrono::{DateTime, Datelike, TimeZone, Timelike, Utc};

/// Who asks for what, as far as budgets care.
#[derive(Debug, Clone, Copy)]
pub struct Spender<'a> {
    pub project: ProjectId,
    pub provider: Provider,
    pub model: &'a str,
    pub room: &'a str,
    pub user: &'a str,
}

/// The price of a model, by the longest pattern that fits.
#[must_use]
pub fn price<'p>(prices: &'p Prices, provider: Provider, model: &str) -> Option<&'p Price> {
    let name = format!("{provider}/{model}");
    let fits = |pattern: &&String| covers(pattern, &name);
    let pattern = prices.keys().filter(fits).max_by_key(|pattern| pattern.len())?;
    prices.get(pattern)
}

/// The same text, or one that begins with what stands before a closing `*`.
#[must_use]
pub fn covers(pattern: &str, text: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(begin) => text.starts_with(begin),
        None => pattern == text,
    }
}

/// The sums that a limit is about, for this spender; `None` where the limit is not about them.
#[must_use]
pub fn counted(limit: &Limit, spender: &Spender<'_>, now: DateTime<Utc>) -> Option<Filter> {
    let same = |want: &Option<String>, is: &str| want.as_deref().is_none_or(|want| want == is);
    let provider = limit.provider.as_deref().map(Provider::named);
    let about = provider.is_none_or(|want| want == Some(spender.provider))
        && limit.model.as_deref().is_none_or(|pattern| covers(pattern, spender.model))
        && same(&limit.room, spender.room)
        && same(&limit.user, spender.user);
    if !about {
        return None;
    }
    let own = |which: Each, is: &str| (limit.each == Some(which)).then(|| is.to_owned());
    let mut filter = Filter::all(spender.project);
    filter.from_ms = begin(limit.per, now).timestamp_millis();
    filter.provider = provider.flatten();
    filter.model = own(Each::Model, spender.model).or_else(|| limit.model.clone());
    filter.room = own(Each::Room, spender.room).or_else(|| limit.room.clone());
    filter.user = own(Each::User, spender.user).or_else(|| limit.user.clone());
    Some(filter)
}

/// When the span of a limit began, UTC.
#[must_use]
pub fn begin(span: Span, now: DateTime<Utc>) -> DateTime<Utc> {
    let day = |day| Utc.with_ymd_and_hms(now.year(), now.month(), day, 0, 0, 0).single();
    let begun = match span {
        Span::Hour => {
            now.with_minute(0).and_then(|at| at.with_second(0)).and_then(|at| at.with_nanosecond(0))
        }
        Span::Day => day(now.day()),
        Span::Month => day(1),
    };
    begun.unwrap_or(now)
}

/// Why a limit stops its spender, where it does.
#[must_use]
pub fn exhausted(limit: &Limit, used: &Sums) -> Option<String> {
    let name = limit.name.as_deref().map_or_else(String::new, |name| format!(" `{name}`"));
    let tokens = limit.tokens.filter(|most| used.total_tokens() >= *most);
    if let Some(most) = tokens {
        let used = used.total_tokens();
        return Some(format!("budget{name} exhausted: {used} of {most} tokens per {} are used", limit.per));
    }
    let most = limit.dollars.filter(|most| used.cost_nanos >= most.nanos())?;
    let used = crate::spec::llm::Dollars::of_nanos(used.cost_nanos);
    Some(format!("budget{name} exhausted: {used} of {most} dollars per {} are used", limit.per))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};
    use uuid::Uuid;

    fn limit(value: Value) -> Limit {
        serde_json::from_value(value).unwrap()
    }

    fn spender() -> Spender<'static> {
        let project = ProjectId::new(Uuid::from_u128(1));
        Spender { project, provider: Provider::OpenAi, model: "gpt-4o", room: "den", user: "ann" }
    }

    fn now() -> DateTime<Utc> {
        "2026-03-05T14:25:36.5Z".parse().unwrap()
    }

    #[test]
    fn a_limit_counts_what_it_is_about_since_its_span_began() {
        let filter = counted(&limit(json!({"per": "day", "tokens": 5})), &spender(), now()).unwrap();
        assert_eq!(
            filter.from_ms,
            "2026-03-05T00:00:00Z".parse::<DateTime<Utc>>().unwrap().timestamp_millis()
        );
        assert_eq!((filter.model, filter.room, filter.user), (None, None, None));
        assert_eq!(begin(Span::Hour, now()).to_rfc3339(), "2026-03-05T14:00:00+00:00");
        assert_eq!(begin(Span::Month, now()).to_rfc3339(), "2026-03-01T00:00:00+00:00");
        let each = limit(json!({"per": "month", "dollars": "1", "each": "user", "model": "gpt-*"}));
        let filter = counted(&each, &spender(), now()).unwrap();
        assert_eq!((filter.model.as_deref(), filter.user.as_deref()), (Some("gpt-*"), Some("ann")));
        for other in [
            json!({"per": "day", "tokens": 5, "model": "gpt-5*"}),
            json!({"per": "day", "tokens": 5, "provider": "anthropic"}),
            json!({"per": "day", "tokens": 5, "room": "hall"}),
            json!({"per": "day", "tokens": 5, "user": "bob"}),
        ] {
            assert_eq!(counted(&limit(other.clone()), &spender(), now()), None, "{other}");
        }
    }

    #[test]
    fn a_limit_stops_when_it_is_reached() {
        let mut used = Sums::default();
        used.tokens.input = 60;
        used.tokens.output = 39;
        used.cost_nanos = 999_999_999;
        let tokens = limit(json!({"name": "daily", "per": "day", "tokens": 100}));
        let dollars = limit(json!({"per": "month", "dollars": "1.00"}));
        assert_eq!((exhausted(&tokens, &used), exhausted(&dollars, &used)), (None, None));
        used.tokens.output = 40;
        used.cost_nanos += 1;
        assert_eq!(
            exhausted(&tokens, &used).unwrap(),
            "budget `daily` exhausted: 100 of 100 tokens per day are used"
        );
        assert!(exhausted(&dollars, &used).unwrap().contains("1 of 1 dollars per month"));
    }

    #[test]
    fn the_longest_pattern_prices_a_model() {
        let prices: Prices = serde_json::from_value(json!({
            "openai/*": {"input": "1", "output": "2"}, "openai/gpt-4o*": {"input": "3", "output": "4"}
        }))
        .unwrap();
        let of = |model| price(&prices, Provider::OpenAi, model).map(|price| price.input.to_string());
        assert_eq!((of("gpt-4o-mini").as_deref(), of("o3").as_deref()), (Some("3"), Some("1")));
        assert!(price(&prices, Provider::Grok, "g").is_none());
    }
}
