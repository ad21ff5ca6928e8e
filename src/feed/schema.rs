//! Schemas of messages (JSON Schema), and whether messages fit. Nothing is fetched: a reference leads within the schema.
//!
//! Who may set a schema may not hold up the server by it: its values, depth and patterns have bounds, what is looked at
//! several times counts as often, it may not refer to itself, and each project has one check at once, on threads that
//! nobody else waits for.

use super::FeedError;
use crate::clock::Clock;
use crate::domain::feed::SCHEMA_BYTES_MAX;
use crate::id::{FeedId, ProjectId};
use crate::share::{Turn, Turns};
use chrono::{DateTime, TimeDelta, Utc};
use jsonschema::{PatternOptions, Validator};
use serde_json::{Map, Value};
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Deepest nesting of a schema.
const DEPTH_MAX: usize = 64;
/// Most values in a schema; what is referred to counts every time, what stands beside `unevaluated…` at least [`AGAIN`] times.
const VALUES_MAX: usize = 5_000;
/// Keywords for which what stands beside them is looked at again, on each level anew.
const UNEVALUATED: [&str; 2] = ["unevaluatedProperties", "unevaluatedItems"];
/// How often that is, at least; further below it is once a level. They multiply where they are nested.
const AGAIN: usize = 3;
/// Most regular expressions of a schema, and most bytes that one may take when it is compiled.
const PATTERNS_MAX: usize = 16;
const PATTERN_BYTES_MAX: usize = 256 * 1024;
/// Feeds whose schemas are kept ready.
const KEPT_MAX: usize = 64;
/// Longest text of a mistake, characters.
const WHY_CHARS_MAX: usize = 400;
/// Most bytes of a message times values of its schema.
const WORK_MAX: usize = 1_000_000_000;
/// Longest time for the check of one publish, seconds; looked at before each message.
pub const CHECK_SECONDS_MAX: i64 = 10;

/// Reads a schema; says what is wrong with it. Takes up to a few seconds. Patterns take time by the length of what they
/// look at only, and formats are notes.
pub fn compile(schema: &Value) -> Result<Ready, String> {
    let values = check_shape(schema)?;
    let patterns = PatternOptions::regex().size_limit(PATTERN_BYTES_MAX).dfa_size_limit(PATTERN_BYTES_MAX);
    let options = jsonschema::options().with_pattern_options(patterns).should_validate_formats(false);
    let read = options.build(schema).map_err(|error| error.to_string());
    let validator = read.map_err(|why| why.chars().take(WHY_CHARS_MAX).collect::<String>())?;
    Ok(Ready { validator, values })
}

/// A schema that was read.
#[derive(Debug)]
pub struct Ready {
    validator: Validator,
    /// Each as often as it counts.
    values: usize,
}

fn check_shape(schema: &Value) -> Result<usize, String> {
    if schema.to_string().len() > SCHEMA_BYTES_MAX {
        return Err(format!("it has more than {SCHEMA_BYTES_MAX} bytes"));
    }
    let draft = schema.get("$schema").and_then(Value::as_str).unwrap_or_default();
    // In the oldest drafts it says where references begin.
    let id = if draft.contains("draft-04") { "id" } else { "$id" };
    let mut shape = Shape { root: schema, id, values: 0, patterns: 0, within: vec![] };
    shape.walk(schema, 0, Often::ONCE)?;
    Ok(shape.values)
}

/// A schema while it is walked through.
struct Shape<'a> {
    root: &'a Value,
    id: &'static str,
    values: usize,
    patterns: usize,
    /// References that are being followed.
    within: Vec<&'a str>,
}

/// How often what stands at a place is looked at.
#[derive(Clone, Copy)]
struct Often {
    times: usize,
    /// Depth of the innermost `unevaluated…` around it.
    again_since: Option<usize>,
}

impl Often {
    const ONCE: Self = Self { times: 1, again_since: None };

    fn at(self, depth: usize) -> usize {
        let again = self.again_since.map_or(1, |since| AGAIN.max(depth.saturating_sub(since) + 1));
        self.times.saturating_mul(again)
    }

    /// Of what is within an object at this depth.
    fn within(self, members: &Map<String, Value>, depth: usize) -> Self {
        let again = UNEVALUATED.iter().any(|keyword| members.contains_key(*keyword));
        if again { Self { times: self.at(depth), again_since: Some(depth) } } else { self }
    }
}

impl<'a> Shape<'a> {
    fn walk(&mut self, value: &'a Value, depth: usize, often: Often) -> Result<(), String> {
        self.values = self.values.saturating_add(often.at(depth));
        if self.values > VALUES_MAX {
            return Err(format!(
                "it has more than {VALUES_MAX} values, counting what is referred to every time, and what stands beside \
                 `unevaluatedProperties` or `unevaluatedItems` {AGAIN} times for each of them around it"
            ));
        }
        if depth > DEPTH_MAX {
            return Err(format!("it is nested more than {DEPTH_MAX} deep"));
        }
        match value {
            Value::Array(items) => items.iter().try_for_each(|item| self.walk(item, depth + 1, often)),
            Value::Object(members) => {
                let often = often.within(members, depth);
                members.iter().try_for_each(|(name, member)| {
                    self.member(name, member, depth, often)?;
                    self.walk(member, depth + 1, often)
                })
            }
            _ => Ok(()),
        }
    }

    fn member(&mut self, name: &str, member: &'a Value, depth: usize, often: Often) -> Result<(), String> {
        match (name, member) {
            ("$ref", Value::String(target)) => self.follow(target, depth, often),
            ("$dynamicRef" | "$recursiveRef", Value::String(_)) => {
                Err(format!("`{name}` is not taken; use `$ref`"))
            }
            (name, Value::String(_)) if name == self.id && depth > 0 => {
                Err(format!("`{name}` stands at the top only"))
            }
            ("pattern", Value::String(_)) => self.count(1),
            ("patternProperties", Value::Object(patterns)) => self.count(patterns.len()),
            _ => Ok(()),
        }
    }

    fn count(&mut self, patterns: usize) -> Result<(), String> {
        self.patterns += patterns;
        if self.patterns > PATTERNS_MAX {
            return Err(format!("it has more than {PATTERNS_MAX} patterns"));
        }
        Ok(())
    }

    fn follow(&mut self, target: &'a str, depth: usize, often: Often) -> Result<(), String> {
        let shown = || target.chars().take(80).collect::<String>();
        let pointer = target.strip_prefix('#').filter(|rest| rest.starts_with('/') && !rest.contains('%'));
        let found = pointer.and_then(|pointer| self.root.pointer(pointer));
        let found = found.ok_or_else(|| {
            format!("the reference `{}` leads nowhere within it; write `#/$defs/…`", shown())
        })?;
        if self.within.contains(&target) {
            return Err(format!("the reference `{}` leads to itself", shown()));
        }
        self.within.push(target);
        self.walk(found, depth + 1, often)?;
        self.within.pop();
        Ok(())
    }
}

/// Schemas that were read, by the generation of their feed, and places for checks.
pub(super) struct Schemas {
    clock: Arc<dyn Clock>,
    kept: Mutex<HashMap<FeedId, (u64, Arc<Ready>)>>,
    /// A project's checks, one after another.
    turns: Turns<ProjectId>,
}

/// A schema at work.
pub(super) struct Held {
    ready: Arc<Ready>,
    clock: Arc<dyn Clock>,
    until: DateTime<Utc>,
}

impl Held {
    /// Holds a message of so many bytes to the schema.
    pub(super) fn check(&self, at: usize, message: &Value, bytes: usize) -> Result<(), FeedError> {
        if self.clock.now() > self.until || bytes.saturating_mul(self.ready.values) > WORK_MAX {
            return Err(FeedError::Slow);
        }
        self.ready.validator.validate(message).map_err(|error| {
            // The text repeats the message: it is the sender's own.
            let place = error.instance_path().to_string();
            let place = if place.is_empty() { String::new() } else { format!("at `{place}`: ") };
            let why: String = format!("{place}{error}").chars().take(WHY_CHARS_MAX).collect();
            FeedError::Mismatch { at, why }
        })
    }
}

impl fmt::Debug for Schemas {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Schemas").field("turns", &self.turns).finish_non_exhaustive()
    }
}

impl Schemas {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, kept: Mutex::default(), turns: Turns::default() }
    }

    /// A project's checks come one after another.
    pub(super) async fn turn(&self, project: ProjectId) -> Result<Turn, FeedError> {
        self.turns.take(project).await.ok_or(FeedError::Busy)
    }

    /// The schema, ready to hold the messages of one publish to it. Takes a while where it is not ready yet.
    pub(super) fn hold(&self, feed: FeedId, generation: u64, schema: &Value) -> Result<Held, FeedError> {
        let clock = Arc::clone(&self.clock);
        let until = clock.now() + TimeDelta::seconds(CHECK_SECONDS_MAX);
        Ok(Held { ready: self.ready(feed, generation, schema)?, clock, until })
    }

    fn ready(&self, feed: FeedId, generation: u64, schema: &Value) -> Result<Arc<Ready>, FeedError> {
        if let Some((_, ready)) = self.locked().get(&feed).filter(|(of, _)| *of == generation) {
            return Ok(Arc::clone(ready));
        }
        let ready = Arc::new(compile(schema).map_err(FeedError::Schema)?);
        let mut kept = self.locked();
        if kept.len() >= KEPT_MAX {
            kept.clear();
        }
        kept.insert(feed, (generation, Arc::clone(&ready)));
        Ok(ready)
    }

    pub(super) fn forget(&self, feed: FeedId) {
        self.locked().remove(&feed);
    }

    fn locked(&self) -> MutexGuard<'_, HashMap<FeedId, (u64, Arc<Ready>)>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::System;
    use serde_json::json;
    use uuid::Uuid;

    #[test]
    fn messages_are_held_to_the_schema_of_their_generation() {
        let feed = FeedId::new(ProjectId::new(Uuid::from_u128(1)), Uuid::from_u128(2));
        let schemas = Schemas::new(Arc::new(System));
        let text = json!({"type": "object", "required": ["a"], "properties": {"a": {"$ref": "#/$defs/text"}},
            "$defs": {"text": {"type": "string", "pattern": "^b\\w*$"}}});
        let check = |generation, schema: &Value, message: Value| {
            schemas.hold(feed, generation, schema).unwrap().check(1, &message, message.to_string().len())
        };
        assert!(check(1, &text, json!({"a": "b"})).is_ok() && check(1, &text, json!({"a": "bcd"})).is_ok());
        let wrong = check(1, &text, json!({"a": 1})).unwrap_err();
        assert!(matches!(&wrong, FeedError::Mismatch { at: 1, why } if why.contains("/a")), "{wrong}");
        assert!(check(1, &text, json!({"a": "c"})).is_err());
        assert!(check(2, &json!(false), json!(1)).is_err(), "a new generation is read anew");
        assert!(check(3, &json!(true), json!(1)).is_ok());
    }

    #[test]
    fn what_takes_too_long_is_refused() {
        let all: Vec<Value> = (0..2_000).map(|n| json!({"minimum": n})).collect();
        let ready = Arc::new(compile(&json!({"items": {"allOf": all}})).unwrap());
        let clock: Arc<dyn Clock> = Arc::new(System);
        let now = clock.now();
        let held = |until| Held { ready: Arc::clone(&ready), clock: Arc::clone(&clock), until };
        let check = |until, bytes| held(until).check(0, &json!([3_000]), bytes);
        assert!(check(now + TimeDelta::hours(1), 6).is_ok());
        assert!(matches!(check(now + TimeDelta::hours(1), 1024 * 1024), Err(FeedError::Slow)));
        assert!(matches!(check(now - TimeDelta::hours(1), 6), Err(FeedError::Slow)));
    }

    #[test]
    fn schemas_that_cannot_be_used_are_refused() {
        for bad in [
            json!({"type": "nonsense"}),
            json!({"$ref": "https://example.com/schema.json"}),
            json!({"$ref": "file:///etc/passwd"}),
            json!({"pattern": "("}),
        ] {
            assert!(compile(&bad).is_err(), "{bad}");
        }
        for fine in [
            json!({"$schema": "http://json-schema.org/draft-07/schema#", "$id": "https://example.com/a", "properties": {"id": {"type": "string"}}}),
            json!({"definitions": {"a": {"type": "integer"}}, "items": {"$ref": "#/definitions/a"}}),
            json!({"properties": {"$ref": {"type": "string"}, "pattern": {"type": "string"}}}),
            (0..4).fold(json!({"type": "string"}), |inner, _| {
                json!({"type": "object", "properties": {"a": inner, "b": {"type": "string"}}, "unevaluatedProperties": false})
            }),
        ] {
            compile(&fine).unwrap();
        }
    }

    #[test]
    fn schemas_that_could_hold_up_the_server_are_refused() {
        let deep = (0..100).fold(json!({}), |inner, _| json!({"not": inner}));
        let doubled: Value = (0..14)
            .map(|n| {
                let next = json!({"$ref": format!("#/$defs/a{}", n + 1)});
                (format!("a{n}"), json!({"allOf": [next, next]}))
            })
            .chain([("a14".to_owned(), json!(true))])
            .collect::<serde_json::Map<_, _>>()
            .into();
        let itself = json!({"$defs": {"a": {"allOf": [{"$ref": "#/$defs/a"}, {"$ref": "#/$defs/a"}]}}, "$ref": "#/$defs/a"});
        let unevaluated = |keyword: &str| {
            let start = json!({"type": "object"});
            (0..30).fold(start, |inner, _| json!({"anyOf": [inner], keyword: {"type": "integer"}}))
        };
        let many: Vec<Value> = (0..20).map(|_| json!({"pattern": "a"})).collect();
        for (bad, why) in [
            (deep, "nested more than 64"),
            (json!({"$defs": doubled, "$ref": "#/$defs/a0"}), "more than 5000 values"),
            (itself, "leads to itself"),
            (unevaluated("unevaluatedProperties"), "`unevaluatedProperties`"),
            (unevaluated("unevaluatedItems"), "`unevaluatedItems`"),
            (json!({"$ref": "#"}), "leads nowhere"),
            (json!({"$ref": "#name", "$defs": {"a": {"$anchor": "name"}}}), "leads nowhere"),
            (json!({"$dynamicRef": "#a"}), "not taken"),
            (
                json!({"properties": {"a": {"$id": "https://example.com/", "type": "string"}}}),
                "at the top only",
            ),
            (json!({"anyOf": many}), "more than 16 patterns"),
            (json!({"pattern": "((a{100}){100}){100}"}), ""),
            (json!({"enum": ["x".repeat(SCHEMA_BYTES_MAX)]}), "bytes"),
            (json!({"enum": vec![0; VALUES_MAX]}), "more than 5000 values"),
        ] {
            let error = compile(&bad).map(drop).unwrap_err();
            assert!(error.contains(why), "{why}: {error}");
        }
    }
}
