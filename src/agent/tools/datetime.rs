//! Toolkit `datetime`: what time it is and how far apart times are. All times are RFC 3339; UTC where no zone is named.

use super::{CallContext, Tool, ToolError, ToolOutput, ToolSpec, arguments, spec};
use crate::clock::Clock;
use chrono::{DateTime, Datelike, Duration, FixedOffset, NaiveDate, SecondsFormat, TimeZone, Utc};
use chrono_tz::Tz;
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;

/// The tools of `--time`.
pub fn datetime(clock: Arc<dyn Clock>) -> Vec<Arc<dyn Tool>> {
    let zone = json!({"type": ["string", "null"], "description": "IANA time zone, for example Europe/Berlin; null is UTC"});
    let time = |what: &str| json!({"type": "string", "description": format!("{what}, RFC 3339")});
    let number = json!({"type": ["integer", "null"]});
    let ranged = json!({"zone": zone});
    let specs = [
        (Op::Now, spec("datetime", "now", "Tells the present date and time.", ranged.clone())),
        (Op::Today, spec("datetime", "today_range", "Start and end of today.", ranged.clone())),
        (
            Op::Week,
            spec("datetime", "week_range", "Start and end of this week, Monday first.", ranged.clone()),
        ),
        (Op::Month, spec("datetime", "month_range", "Start and end of this month.", ranged)),
        (
            Op::Add,
            spec(
                "datetime",
                "add_duration",
                "Adds days, hours, minutes and seconds (negative ones subtract) to a time.",
                json!({"time": time("start"), "days": number, "hours": number, "minutes": number, "seconds": number}),
            ),
        ),
        (
            Op::Diff,
            spec(
                "datetime",
                "diff",
                "Seconds from one time to another.",
                json!({"start": time("start"), "end": time("end")}),
            ),
        ),
        (
            Op::ToUtc,
            spec("datetime", "to_utc_z", "Writes a time in UTC with a Z.", json!({"time": time("time")})),
        ),
    ];
    specs.into_iter().map(|(op, spec)| Arc::new(TimeTool { op, spec, clock: clock.clone() }) as _).collect()
}

#[derive(Clone, Copy)]
enum Op {
    Now,
    Today,
    Week,
    Month,
    Add,
    Diff,
    ToUtc,
}

struct TimeTool {
    op: Op,
    spec: ToolSpec,
    clock: Arc<dyn Clock>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Zoned {
    zone: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Add {
    time: String,
    days: Option<i64>,
    hours: Option<i64>,
    minutes: Option<i64>,
    seconds: Option<i64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Between {
    start: String,
    end: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct One {
    time: String,
}

#[async_trait::async_trait]
impl Tool for TimeTool {
    fn spec(&self) -> &ToolSpec {
        &self.spec
    }

    async fn run(&self, given: Value, _: &CallContext) -> Result<ToolOutput, ToolError> {
        let answer = match self.op {
            Op::Now => {
                let now = self.clock.now().with_timezone(&zone(arguments(given)?)?);
                json!({"now": now.to_rfc3339_opts(SecondsFormat::Secs, true), "weekday": now.format("%A").to_string()})
            }
            Op::Today | Op::Week | Op::Month => self.range(zone(arguments(given)?)?)?,
            Op::Add => {
                let add: Add = arguments(given)?;
                let sum = add.sum().and_then(|by| read(&add.time).ok()?.checked_add_signed(by));
                let time = sum.ok_or("the time is not RFC 3339, or the sum is out of range")?;
                json!({"time": time.to_rfc3339_opts(SecondsFormat::Secs, true)})
            }
            Op::Diff => {
                let between: Between = arguments(given)?;
                json!({"seconds": (read(&between.end)? - read(&between.start)?).num_seconds()})
            }
            Op::ToUtc => {
                let one: One = arguments(given)?;
                json!({"time": read(&one.time)?.with_timezone(&Utc).to_rfc3339_opts(SecondsFormat::Secs, true)})
            }
        };
        Ok(answer.to_string().into())
    }
}

impl TimeTool {
    /// First and last second of the day, week or month.
    fn range(&self, zone: Tz) -> Result<Value, String> {
        let today = self.clock.now().with_timezone(&zone).date_naive();
        let (first, after) = match self.op {
            Op::Week => {
                let back = u64::from(today.weekday().num_days_from_monday());
                let monday = today.checked_sub_days(chrono::Days::new(back));
                (monday, monday.and_then(|m| m.checked_add_days(chrono::Days::new(7))))
            }
            Op::Month => {
                let first = today.with_day(1);
                (first, first.and_then(|f| f.checked_add_months(chrono::Months::new(1))))
            }
            _ => (Some(today), today.succ_opt()),
        };
        let midnight = |day: Option<NaiveDate>| {
            day.and_then(|d| d.and_hms_opt(0, 0, 0)).and_then(|t| zone.from_local_datetime(&t).earliest())
        };
        let (Some(start), Some(end)) = (midnight(first), midnight(after)) else {
            return Err("the day has no midnight in this zone".into());
        };
        let text = |t: DateTime<Tz>| t.to_rfc3339_opts(SecondsFormat::Secs, true);
        Ok(json!({"start": text(start), "end": text(end - Duration::seconds(1))}))
    }
}

impl Add {
    fn sum(&self) -> Option<Duration> {
        let parts = [(self.days, 86_400), (self.hours, 3600), (self.minutes, 60), (self.seconds, 1)];
        let seconds = parts
            .iter()
            .try_fold(0_i64, |sum, (n, unit)| sum.checked_add(n.unwrap_or(0).checked_mul(*unit)?))?;
        Duration::try_seconds(seconds)
    }
}

fn zone(zoned: Zoned) -> Result<Tz, String> {
    match zoned.zone {
        None => Ok(Tz::UTC),
        Some(name) => name.parse().map_err(|_| format!("`{name}` is no IANA time zone")),
    }
}

fn read(text: &str) -> Result<DateTime<FixedOffset>, String> {
    DateTime::parse_from_rfc3339(text).map_err(|e| format!("`{text}` is no RFC 3339 time: {e}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Fixed;

    async fn run(tool: &str, arguments: Value) -> Result<Value, String> {
        let now = Utc.with_ymd_and_hms(2026, 11, 21, 23, 30, 0).unwrap();
        let all = datetime(Arc::new(Fixed::at(now)));
        let found = all.into_iter().find(|t| t.spec().tool == tool).unwrap();
        let call = CallContext::new("t", "u", "i");
        let answer = found.run(arguments, &call).await.map_err(|e| e.to_string());
        answer.map(|output| serde_json::from_str(&output.text).unwrap())
    }

    #[tokio::test]
    async fn times_are_told_in_the_zone_asked_for() {
        let utc = run("now", json!({"zone": null})).await.unwrap();
        assert_eq!(utc, json!({"now": "2026-11-21T23:30:00Z", "weekday": "Saturday"}));
        let berlin = run("now", json!({"zone": "Europe/Berlin"})).await.unwrap();
        assert_eq!(berlin["now"], "2026-11-22T00:30:00+01:00");
        assert!(run("now", json!({"zone": "Moon"})).await.unwrap_err().contains("no IANA time zone"));
        let week = run("week_range", json!({})).await.unwrap();
        assert_eq!(week, json!({"start": "2026-11-16T00:00:00Z", "end": "2026-11-22T23:59:59Z"}));
        let month = run("month_range", json!({})).await.unwrap();
        assert_eq!(month, json!({"start": "2026-11-01T00:00:00Z", "end": "2026-11-30T23:59:59Z"}));
    }

    #[tokio::test]
    async fn times_are_added_and_compared() {
        let sum =
            run("add_duration", json!({"time": "2026-01-31T00:00:00Z", "days": 1, "seconds": -1})).await;
        assert_eq!(sum.unwrap(), json!({"time": "2026-01-31T23:59:59Z"}));
        let far = run("add_duration", json!({"time": "2026-01-31T00:00:00Z", "days": i64::MAX})).await;
        assert!(far.is_err());
        let diff =
            run("diff", json!({"start": "2026-01-01T00:00:00Z", "end": "2026-01-01T01:00:00+01:00"})).await;
        assert_eq!(diff.unwrap(), json!({"seconds": 0}));
    }
}
