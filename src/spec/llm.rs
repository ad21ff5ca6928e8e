//! What a project says about models: where a provider is, which models and programs are let through, what is changed in
//! requests, how much may be used. The documents of `settings/openai`, `anthropic`, `grok`, `router` and `budgets`.

use schemars::JsonSchema;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// Billionths of a dollar in a dollar.
const NANOS: u64 = 1_000_000_000;
const DECIMALS: usize = 9;
/// Tokens that a price is for.
const PRICE_TOKENS: u128 = 1_000_000;

/// Where a provider is and how it is asked, as the project sets it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProviderSettings {
    /// Kept in the vault; read back as asterisks, which stand for the key that is kept.
    #[serde(default, alias = "apiKey", skip_serializing_if = "Option::is_none")]
    pub api_key: Option<String>,
    /// As the provider's SDKs take it; the provider's own address without it.
    #[serde(default, alias = "baseUrl", skip_serializing_if = "Option::is_none")]
    pub base_url: Option<String>,
}

/// How much may be used.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Budgets {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub limits: Vec<Limit>,
    /// By `provider/model`, or a beginning of it with a closing `*`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub prices: Prices,
}

/// Prices by model pattern.
pub type Prices = BTreeMap<String, Price>;

/// Dollars for a million tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Price {
    pub input: Dollars,
    /// For what was read from the provider's cache; as `input` without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cached_input: Option<Dollars>,
    /// For what was written to it; as `input` without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_write: Option<Dollars>,
    pub output: Dollars,
}

impl Price {
    /// Billionths of a dollar for an answer: tokens read in all, of these cached and written to the cache, and made.
    #[must_use]
    pub fn cost_nanos(&self, input: u64, cached: u64, cache_write: u64, output: u64) -> u64 {
        let plain = input.saturating_sub(cached).saturating_sub(cache_write);
        let of = |tokens: u64, price: Dollars| u128::from(tokens) * u128::from(price.nanos());
        let all = of(plain, self.input)
            + of(cached, self.cached_input.unwrap_or(self.input))
            + of(cache_write, self.cache_write.unwrap_or(self.input))
            + of(output, self.output);
        u64::try_from(all / PRICE_TOKENS).unwrap_or(u64::MAX)
    }
}

/// One limit. What it names narrows it; without names it is the whole project's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Limit {
    /// For the refusal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    pub per: Span,
    /// Most tokens read and made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<u64>,
    /// Most dollars; only models with a price may be used then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dollars: Option<Dollars>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// A model, or a beginning with a closing `*`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub room: Option<String>,
    /// A participant or a service account, by name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Holds for each of these by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub each: Option<Each>,
}

/// Calendar spans, UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Span {
    Hour,
    Day,
    Month,
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Hour => "hour",
            Self::Day => "day",
            Self::Month => "month",
        })
    }
}

/// What a limit holds for one by one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Each {
    Room,
    User,
    Model,
}

/// A sum of money, exact to a billionth of a dollar. Written as decimal text; a number is read too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Dollars(u64);

impl Dollars {
    #[must_use]
    pub const fn of_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    #[must_use]
    pub const fn nanos(self) -> u64 {
        self.0
    }
}

/// The text is no sum of money.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no sum in dollars; write it such as 12.50, with at most nine decimals")]
pub struct NotDollars(String);

impl FromStr for Dollars {
    type Err = NotDollars;

    fn from_str(text: &str) -> Result<Self, NotDollars> {
        let bad = || NotDollars(text.chars().take(40).collect());
        let (whole, part) = text.trim().split_once('.').unwrap_or((text.trim(), ""));
        let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
        if !digits(whole) || !digits(part) || (whole.is_empty() && part.is_empty()) || part.len() > DECIMALS {
            return Err(bad());
        }
        let number = |text: &str| if text.is_empty() { Some(0) } else { text.parse::<u64>().ok() };
        let whole = number(whole).and_then(|n| n.checked_mul(NANOS)).ok_or_else(bad)?;
        let part = number(&format!("{part:0<DECIMALS$}")).ok_or_else(bad)?;
        whole.checked_add(part).map(Self).ok_or_else(bad)
    }
}

impl fmt::Display for Dollars {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, part) = (self.0 / NANOS, self.0 % NANOS);
        if part == 0 {
            return write!(f, "{whole}");
        }
        write!(f, "{whole}.{}", format!("{part:0>DECIMALS$}").trim_end_matches('0'))
    }
}

impl Serialize for Dollars {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Dollars {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Text(String),
            Number(serde_json::Number),
        }
        let text = match Written::deserialize(d) {
            Ok(Written::Text(text)) => text,
            Ok(Written::Number(number)) => number.to_string(),
            Err(_) => return Err(D::Error::custom("a sum in dollars is text such as \"12.50\"")),
        };
        text.parse().map_err(D::Error::custom)
    }
}

impl JsonSchema for Dollars {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Dollars".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({"type": ["string", "number"], "description": "A sum in dollars, such as \"12.50\""})
    }
}

/// Most limits, and most prices, of one project.
pub const LIMITS_MAX: usize = 100;
pub const PRICES_MAX: usize = 1_000;

/// What is wrong with budgets beyond their shape.
pub fn check_budgets(budgets: &Budgets) -> Result<(), String> {
    if budgets.limits.len() > LIMITS_MAX || budgets.prices.len() > PRICES_MAX {
        return Err(format!("at most {LIMITS_MAX} limits and {PRICES_MAX} prices"));
    }
    for (n, limit) in budgets.limits.iter().enumerate() {
        if limit.tokens.is_none() && limit.dollars.is_none() {
            return Err(format!("limits[{n}] limits nothing; give `tokens` or `dollars`"));
        }
        let known = ["openai", "anthropic", "grok"];
        if let Some(provider) = limit.provider.as_deref().filter(|name| !known.contains(name)) {
            return Err(format!("limits[{n}].provider `{provider}` is not openai, anthropic or grok"));
        }
    }
    Ok(())
}

/// The texts of serde quote values where the type is wrong; what was expected comes behind them.
#[must_use]
pub fn without_values(why: &str) -> String {
    match why.split_once(" \"") {
        None => why.to_owned(),
        Some((before, rest)) => match rest.rsplit_once("\", expected ") {
            Some((_, expected)) => format!("{before}, expected {expected}"),
            None => before.to_owned(),
        },
    }
}

/// What is wrong with the address of a provider. The text may have a password in it, and is not repeated.
pub fn check_base_url(text: &str) -> Result<(), String> {
    let url = url::Url::parse(text).map_err(|error| format!("`base_url` is no URL: {error}"))?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
        return Err("`base_url` begins with http:// or https:// and names a host".to_owned());
    }
    if !url.username().is_empty() || url.password().is_some() || url.query().is_some() {
        return Err("`base_url` has no user, no password and no query".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn sums_of_money_are_exact() {
        for (text, nanos, shown) in [
            ("12.50", 12_500_000_000, "12.5"),
            ("0.000000001", 1, "0.000000001"),
            ("3", 3_000_000_000, "3"),
            (".5", 500_000_000, "0.5"),
        ] {
            let sum: Dollars = text.parse().unwrap();
            assert_eq!((sum.nanos(), sum.to_string().as_str()), (nanos, shown));
        }
        for bad in ["", ".", "-1", "1e3", "1.0000000001", "99999999999", "1,5", "$1"] {
            assert!(bad.parse::<Dollars>().is_err(), "{bad}");
        }
        assert_eq!(serde_json::from_value::<Dollars>(json!(0.15)).unwrap().nanos(), 150_000_000);
        assert!(serde_json::from_value::<Dollars>(json!([1])).is_err());
    }

    #[test]
    fn costs_tell_cached_from_other_input() {
        let price: Price =
            serde_json::from_value(json!({"input": "2.5", "cached_input": "1.25", "output": "10"})).unwrap();
        // 800 plain, 200 cached, 100 made.
        assert_eq!(price.cost_nanos(1000, 200, 0, 100), 2_000_000 + 250_000 + 1_000_000);
        assert_eq!(price.cost_nanos(0, 0, 0, 0), 0);
        assert_eq!(price.cost_nanos(u64::MAX, 0, 0, u64::MAX), u64::MAX);
    }

    #[test]
    fn budgets_that_limit_nothing_are_refused() {
        let budgets: Budgets = serde_json::from_value(json!({"limits": [{"per": "day"}]})).unwrap();
        assert!(check_budgets(&budgets).unwrap_err().contains("limits[0]"));
        assert!(serde_json::from_value::<Budgets>(json!({"limit": []})).is_err());
        let unknown: Budgets =
            serde_json::from_value(json!({"limits": [{"per": "day", "tokens": 1, "provider": "x"}]}))
                .unwrap();
        assert!(check_budgets(&unknown).is_err());
    }
}
