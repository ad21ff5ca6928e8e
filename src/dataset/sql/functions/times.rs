//! Dates and times. A value comes with its Arrow type, which says what its integer counts and in which zone its
//! calendar is.

use super::{PURE, refuse, text, whole};
use crate::clock::Clock;
use crate::dataset::sql::typed::per_second;
use arrow_schema::DataType;
use chrono::{
    DateTime, Datelike as _, Days, FixedOffset, MappedLocalTime, Months, NaiveDate, NaiveDateTime, NaiveTime,
    TimeDelta, TimeZone as _, Timelike as _,
};
use rusqlite::Connection;
use rusqlite::functions::{Context, FunctionFlags};
use rusqlite::types::Value;
use std::fmt::Write as _;
use std::sync::Arc;

const DAY_NANOS: i128 = 86_400_000_000_000;

pub(super) fn register(connection: &Connection, clock: Arc<dyn Clock>) -> rusqlite::Result<()> {
    let changing = FunctionFlags::SQLITE_UTF8.union(FunctionFlags::SQLITE_INNOCUOUS);
    connection.create_scalar_function("ma_now", 0, changing, move |_| {
        Ok(clock.now().timestamp_nanos_opt().unwrap_or(i64::MAX))
    })?;
    connection.create_scalar_function("ma_date_part", 3, PURE, date_part)?;
    connection.create_scalar_function("ma_date_trunc", 3, PURE, date_trunc)?;
    connection.create_scalar_function("ma_add_months", 3, PURE, add_months)?;
    connection.create_scalar_function("ma_bin", 2, PURE, |c| {
        let (Some(value), Some(width)) = (whole(c, 0)?, whole(c, 1)?) else { return Ok(None) };
        Ok(value.checked_div_euclid(width).map(|bins| bins * width))
    })?;
    connection.create_scalar_function("ma_to_char", 3, PURE, to_char)?;
    connection.create_scalar_function("ma_make_date", 3, PURE, |c| {
        let (Some(year), Some(month), Some(day)) = (whole(c, 0)?, whole(c, 1)?, whole(c, 2)?) else {
            return Ok(None);
        };
        let date = i32::try_from(year)
            .ok()
            .zip(u32::try_from(month).ok())
            .zip(u32::try_from(day).ok())
            .and_then(|((y, m), d)| NaiveDate::from_ymd_opt(y, m, d));
        match date {
            Some(date) => Ok(Some(date.num_days_from_ce() - EPOCH_FROM_CE)),
            None => Err(refuse(format!("there is no date {year}-{month}-{day}"))),
        }
    })
}

const EPOCH_FROM_CE: i32 = 719_163;

#[derive(Debug, Clone, Copy)]
enum Zone {
    Fixed(FixedOffset),
    Named(chrono_tz::Tz),
}

/// What an integer of the type counts.
#[derive(Debug, Clone, Copy)]
struct Scale {
    nanos: i128,
    zone: Option<Zone>,
}

impl Scale {
    fn of(data_type: &DataType) -> Option<Self> {
        let unit = |unit| i128::from(1_000_000_000 / per_second(unit));
        Some(match data_type {
            DataType::Date32 => Self { nanos: DAY_NANOS, zone: None },
            DataType::Date64 => Self { nanos: 1_000_000, zone: None },
            DataType::Time32(u) | DataType::Time64(u) => Self { nanos: unit(*u), zone: None },
            DataType::Timestamp(u, zone) => Self { nanos: unit(*u), zone: zone.as_deref().and_then(zone_of) },
            _ => return None,
        })
    }

    /// The calendar's time in the zone.
    fn local(self, value: i64) -> Option<NaiveDateTime> {
        let nanos = i128::from(value) * self.nanos;
        let seconds = i64::try_from(nanos.div_euclid(1_000_000_000)).ok()?;
        let rest = u32::try_from(nanos.rem_euclid(1_000_000_000)).ok()?;
        let utc = DateTime::from_timestamp(seconds, rest)?.naive_utc();
        Some(match self.zone {
            None => utc,
            Some(Zone::Fixed(offset)) => offset.from_utc_datetime(&utc).naive_local(),
            Some(Zone::Named(zone)) => zone.from_utc_datetime(&utc).naive_local(),
        })
    }

    fn back(self, local: NaiveDateTime) -> Option<i64> {
        let utc = match self.zone {
            None => local,
            Some(Zone::Fixed(offset)) => earliest(offset.from_local_datetime(&local))?.naive_utc(),
            Some(Zone::Named(zone)) => match earliest(zone.from_local_datetime(&local)) {
                Some(found) => found.naive_utc(),
                // an hour that the clocks skip: the moment after it
                None => earliest(zone.from_local_datetime(&(local + TimeDelta::hours(1))))?.naive_utc(),
            },
        };
        let utc = utc.and_utc();
        let nanos = i128::from(utc.timestamp()) * 1_000_000_000 + i128::from(utc.timestamp_subsec_nanos());
        i64::try_from(nanos.div_euclid(self.nanos)).ok()
    }
}

fn earliest<T>(found: MappedLocalTime<T>) -> Option<T> {
    match found {
        MappedLocalTime::Single(one) | MappedLocalTime::Ambiguous(one, _) => Some(one),
        MappedLocalTime::None => None,
    }
}

fn zone_of(name: &str) -> Option<Zone> {
    if let Ok(offset) = name.parse::<FixedOffset>() {
        return Some(Zone::Fixed(offset));
    }
    name.parse::<chrono_tz::Tz>().ok().map(Zone::Named)
}

/// The scale of the type in an argument, read once a statement.
fn scale(c: &Context<'_>, index: usize) -> rusqlite::Result<Scale> {
    let scale = c.get_or_create_aux(
        i32::try_from(index).unwrap_or(0),
        |value| -> Result<Option<Scale>, rusqlite::Error> {
            let name = value.as_str().map_err(|_| refuse("a type is wanted"))?;
            Ok(name.parse::<DataType>().ok().as_ref().and_then(Scale::of))
        },
    )?;
    (*scale).ok_or_else(|| refuse("this is not a date or time"))
}

fn out_of_range() -> rusqlite::Error {
    refuse("a date or time is outside of the calendar")
}

/// `ma_date_part(part, value, type)`.
fn date_part(c: &Context<'_>) -> rusqlite::Result<Value> {
    let scale = scale(c, 2)?;
    let (Some(part), Some(value)) = (text(c, 0)?, whole(c, 1)?) else { return Ok(Value::Null) };
    let at = scale.local(value).ok_or_else(out_of_range)?;
    let seconds = i64::from(at.second());
    let nanos = i64::from(at.nanosecond());
    Ok(Value::Integer(match part {
        "year" => i64::from(at.year()),
        "quarter" => i64::from(at.month0() / 3 + 1),
        "month" => i64::from(at.month()),
        "week" => i64::from(at.iso_week().week()),
        "isoyear" => i64::from(at.iso_week().year()),
        "day" => i64::from(at.day()),
        "doy" => i64::from(at.ordinal()),
        "dow" => i64::from(at.weekday().num_days_from_sunday()),
        "isodow" => i64::from(at.weekday().num_days_from_monday()),
        "hour" => i64::from(at.hour()),
        "minute" => i64::from(at.minute()),
        "second" => seconds,
        "millisecond" => seconds * 1_000 + nanos / 1_000_000,
        "microsecond" => seconds * 1_000_000 + nanos / 1_000,
        "nanosecond" => seconds * 1_000_000_000 + nanos,
        _ => {
            #[expect(clippy::cast_precision_loss, reason = "an epoch with a fraction is a double")]
            let epoch = (i128::from(value) * scale.nanos) as f64 / 1e9;
            return Ok(super::numbers::stored(epoch));
        }
    }))
}

/// `ma_date_trunc(unit, value, type)`.
fn date_trunc(c: &Context<'_>) -> rusqlite::Result<Option<i64>> {
    let scale = scale(c, 2)?;
    let (Some(unit), Some(value)) = (text(c, 0)?, whole(c, 1)?) else { return Ok(None) };
    let fixed = match unit {
        "second" => Some(1_000_000_000),
        "millisecond" => Some(1_000_000),
        "microsecond" => Some(1_000),
        _ => None,
    };
    if let Some(fixed) = fixed {
        let nanos = i128::from(value) * scale.nanos;
        let cut = nanos.div_euclid(fixed) * fixed;
        return Ok(i64::try_from(cut / scale.nanos).ok());
    }
    let at = scale.local(value).ok_or_else(out_of_range)?;
    let day = at.date();
    let midnight = |date: Option<NaiveDate>| date.map(|d| d.and_time(NaiveTime::MIN));
    let cut = match unit {
        "minute" => at.with_nanosecond(0).and_then(|t| t.with_second(0)),
        "hour" => at.with_nanosecond(0).and_then(|t| t.with_second(0)).and_then(|t| t.with_minute(0)),
        "day" => midnight(Some(day)),
        "week" => midnight(day.checked_sub_days(Days::new(u64::from(day.weekday().num_days_from_monday())))),
        "month" => midnight(day.with_day(1)),
        "quarter" => midnight(NaiveDate::from_ymd_opt(day.year(), day.month0() / 3 * 3 + 1, 1)),
        _ => midnight(NaiveDate::from_ymd_opt(day.year(), 1, 1)),
    };
    cut.and_then(|cut| scale.back(cut)).map(Some).ok_or_else(out_of_range)
}

/// `ma_add_months(value, type, months)`: the last day of the month where the day is none of it.
fn add_months(c: &Context<'_>) -> rusqlite::Result<Option<i64>> {
    let scale = scale(c, 1)?;
    let (Some(value), Some(months)) = (whole(c, 0)?, whole(c, 2)?) else { return Ok(None) };
    let at = scale.local(value).ok_or_else(out_of_range)?;
    let count = Months::new(u32::try_from(months.unsigned_abs()).unwrap_or(u32::MAX));
    let moved = if months >= 0 { at.checked_add_months(count) } else { at.checked_sub_months(count) };
    moved.and_then(|moved| scale.back(moved)).map(Some).ok_or_else(out_of_range)
}

/// `ma_to_char(value, type, format)`, with the letters of strftime.
fn to_char(c: &Context<'_>) -> rusqlite::Result<Option<String>> {
    let scale = scale(c, 1)?;
    let (Some(value), Some(format)) = (whole(c, 0)?, text(c, 2)?) else { return Ok(None) };
    let at = scale.local(value).ok_or_else(out_of_range)?;
    let mut built = String::new();
    write!(built, "{}", at.format(format)).map_err(|_| {
        refuse(format!("`{format}` is not a format; use letters of strftime, such as %Y-%m-%d"))
    })?;
    Ok(Some(built))
}
