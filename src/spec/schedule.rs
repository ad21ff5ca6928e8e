//! When a schedule fires: intervals and cron lines in a time zone, on instants the caller gives.
//!
//! `15 minutes` fires every period after an anchor. A cron line has five fields, and may have a sixth with
//! seconds at its end; it is read in the wall clock of its zone. Where clocks go forward, a time that does
//! not exist fires at the first instant after the gap; where they go back, a fixed time fires once.

use super::ScheduledTask;
use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;
use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};

/// Shortest gap between two firings unless the server is told otherwise, seconds.
pub const GAP_SECONDS_MIN: i64 = 60;
/// How many firings the check of the gap looks at.
const FIRINGS_CHECKED: usize = 100;
/// Longest interval, days.
const INTERVAL_DAYS_MAX: i64 = 3660;
/// Longest schedule text, bytes.
const TEXT_BYTES_MAX: usize = 256;
/// 2026-01-01T00:00:00Z: checks look at the firings after it, so that they say the same every day.
const CHECKED_FROM: DateTime<Utc> = DateTime::from_timestamp_nanos(1_767_225_600_000_000_000);

/// A schedule that fires.
#[derive(Debug, Clone)]
pub struct Schedule {
    text: String,
    rule: Rule,
}

#[derive(Debug, Clone)]
enum Rule {
    Every(TimeDelta),
    Cron { cron: Box<Cron>, zone: Tz },
}

/// Why a text is not a usable schedule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSchedule {
    #[error("`{text}` is not a schedule: {reason}; write `15 minutes`, or a cron line such as `30 17 * * *`")]
    NotOne { text: String, reason: String },
    #[error("`{zone}` is not a time zone; write an IANA name such as `Europe/Berlin` or `UTC`")]
    UnknownZone { zone: String },
    #[error("the schedule `{text}` never fires; choose a date that exists")]
    NeverFires { text: String },
    #[error(
        "the schedule `{text}` fires {gap_seconds} s apart, and must run no more frequently than every {floor_seconds} s; \
         write a longer gap or raise the server's limit"
    )]
    TooOften { text: String, gap_seconds: i64, floor_seconds: i64 },
}

impl Schedule {
    /// Reads a schedule; `zone` is an IANA name that only cron lines look at. Refuses one that never fires.
    pub fn parse(text: &str, zone: &str) -> Result<Self, InvalidSchedule> {
        let not_one = |reason: String| InvalidSchedule::NotOne { text: shown(text), reason };
        if text.len() > TEXT_BYTES_MAX {
            return Err(not_one(format!("it is longer than {TEXT_BYTES_MAX} bytes")));
        }
        let zone = zone.parse().map_err(|_| InvalidSchedule::UnknownZone { zone: shown(zone) })?;
        let rule = match interval(text).map_err(not_one)? {
            Some(period) => Rule::Every(period),
            None => Rule::Cron { cron: Box::new(cron(text).map_err(not_one)?), zone },
        };
        let schedule = Self { text: text.trim().to_owned(), rule };
        match schedule.next_after(CHECKED_FROM, CHECKED_FROM) {
            Some(_) => Ok(schedule),
            None => Err(InvalidSchedule::NeverFires { text: schedule.text }),
        }
    }

    /// The schedule of a task in its time zone. A task that repeats must keep at least `floor` between firings.
    pub fn of_task(task: &ScheduledTask, floor: TimeDelta) -> Result<Self, InvalidSchedule> {
        let schedule = Self::parse(&task.schedule, task.timezone())?;
        if !task.once {
            schedule.check_gap(floor)?;
        }
        Ok(schedule)
    }

    /// The first firing strictly after `after`. Intervals count from `anchor` and first fire one period after it.
    pub fn next_after(&self, after: DateTime<Utc>, anchor: DateTime<Utc>) -> Option<DateTime<Utc>> {
        match &self.rule {
            Rule::Every(period) => {
                let passed = (after - anchor).num_milliseconds().max(0) / period.num_milliseconds();
                let periods = i32::try_from(passed + 1).ok()?;
                anchor.checked_add_signed(period.checked_mul(periods)?)
            }
            Rule::Cron { cron, zone } => {
                let next = cron.find_next_occurrence(&after.with_timezone(zone), false).ok()?;
                Some(next.with_timezone(&Utc)).filter(|next| *next > after)
            }
        }
    }

    /// Firings strictly after `after`, in order.
    pub fn upcoming(
        &self,
        after: DateTime<Utc>,
        anchor: DateTime<Utc>,
    ) -> impl Iterator<Item = DateTime<Utc>> {
        let next = move |at: &DateTime<Utc>| self.next_after(*at, anchor);
        std::iter::successors(self.next_after(after, anchor), next)
    }

    /// Refuses a schedule with two firings closer than `floor`.
    pub fn check_gap(&self, floor: TimeDelta) -> Result<(), InvalidSchedule> {
        let mut firings = self.upcoming(CHECKED_FROM, CHECKED_FROM).take(FIRINGS_CHECKED);
        let mut last = firings.next();
        let mut shortest: Option<TimeDelta> = None;
        for firing in firings {
            let gap = last.map(|last| firing - last);
            shortest = shortest.into_iter().chain(gap).min();
            last = Some(firing);
        }
        match shortest {
            Some(gap) if gap < floor => Err(InvalidSchedule::TooOften {
                text: self.text.clone(),
                gap_seconds: gap.num_seconds(),
                floor_seconds: floor.num_seconds(),
            }),
            Some(_) | None => Ok(()),
        }
    }

    /// The text it was read from.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

/// `<n> second(s)|minute(s)|hour(s)|day(s)`; none when the text is not of that form.
fn interval(text: &str) -> Result<Option<TimeDelta>, String> {
    let mut words = text.split_whitespace();
    let (Some(count), Some(unit), None) = (words.next(), words.next(), words.next()) else { return Ok(None) };
    let unit_seconds: i64 = match unit.to_ascii_lowercase().trim_end_matches('s') {
        "second" => 1,
        "minute" => 60,
        "hour" => 3600,
        "day" => 86_400,
        _ => return Err(format!("`{}` is not second(s), minute(s), hour(s) or day(s)", shown(unit))),
    };
    let longest = INTERVAL_DAYS_MAX * 86_400 / unit_seconds;
    match count.parse::<i64>() {
        Ok(count) if (1..=longest).contains(&count) => Ok(Some(TimeDelta::seconds(count * unit_seconds))),
        Ok(_) | Err(_) => Err(format!("`{}` is not a whole number from 1 to {longest}", shown(count))),
    }
}

/// Five fields, or six with the seconds last, or one of the `@` words.
fn cron(text: &str) -> Result<Cron, String> {
    let text = text.trim();
    let line = if text.starts_with('@') { word(text)?.to_owned() } else { seconds_first(text)? };
    let parser = CronParser::builder().seconds(Seconds::Required).year(Year::Disallowed).build();
    parser.parse(&line).map_err(|error| plain(&error.to_string()))
}

/// Croner writes seconds first, croniter last.
fn seconds_first(text: &str) -> Result<String, String> {
    let fields: Vec<&str> = text.split_whitespace().collect();
    match fields.as_slice() {
        [minute, hour, day, month, weekday] => Ok(format!("0 {minute} {hour} {day} {month} {weekday}")),
        [minute, hour, day, month, weekday, second] => {
            Ok(format!("{second} {minute} {hour} {day} {month} {weekday}"))
        }
        _ => Err(format!("a cron line has 5 fields (or 6 with seconds last), this has {}", fields.len())),
    }
}

fn word(text: &str) -> Result<&'static str, String> {
    match text.to_ascii_lowercase().as_str() {
        "@yearly" | "@annually" => Ok("0 0 0 1 1 *"),
        "@monthly" => Ok("0 0 0 1 * *"),
        "@weekly" => Ok("0 0 0 * * 0"),
        "@daily" | "@midnight" => Ok("0 0 0 * * *"),
        "@hourly" => Ok("0 0 * * * *"),
        _ => Err(format!("`{}` is not @yearly, @monthly, @weekly, @daily or @hourly", shown(text))),
    }
}

/// The parser's text in our form: lower case, no full stop.
fn plain(text: &str) -> String {
    let text = text.trim_end_matches('.');
    let text = text.strip_prefix("Component error: ").unwrap_or(text);
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_lowercase().chain(chars).collect())
}

/// Foreign text in a message: short and on one line.
fn shown(text: &str) -> String {
    const SHOWN_CHARS_MAX: usize = 80;
    text.chars().take(SHOWN_CHARS_MAX).flat_map(char::escape_debug).collect()
}

#[cfg(test)]
#[path = "schedule_tests.rs"]
mod tests;
