//! Calls of functions of dates and times.

use super::call::wrong_count;
use super::cast::OnFailure;
use super::catalogue::Kind;
use super::constant::Constant;
use super::expr::Translator;
use super::text::at;
use super::typed::{Typed, per_second, plain, type_argument};
use crate::dataset::DatasetError;
use arrow_schema::{DataType, Metadata, TimeUnit};
use sqlparser::tokenizer::Location;

const DAY_NANOS: i64 = 86_400_000_000_000;

impl Translator<'_> {
    pub fn time_call(
        &mut self,
        name: &str,
        mut args: Vec<Typed>,
        here: Location,
    ) -> Result<Typed, DatasetError> {
        let count: usize = match name {
            "now" | "current_timestamp" | "current_date" => 0,
            "date_trunc" | "date_part" | "datetrunc" | "datepart" | "date_bin" | "to_char"
            | "date_format" => 2,
            "make_date" => 3,
            "to_timestamp"
            | "to_timestamp_seconds"
            | "to_timestamp_millis"
            | "to_timestamp_micros"
            | "to_timestamp_nanos"
            | "to_date"
            | "to_unixtime"
            | "from_unixtime"
            | "date" => 1,
            _ => return Err(self.unknown_function(name, here)),
        };
        if args.len() != count {
            return Err(wrong_count(name, count, count, args.len(), here));
        }
        match name {
            "now" | "current_timestamp" => {
                let zoned = DataType::Timestamp(TimeUnit::Nanosecond, Some("+00:00".into()));
                Ok(Typed::new("ma_now()", zoned, here))
            }
            "current_date" => Ok(Typed::new(format!("(ma_now() / {DAY_NANOS})"), DataType::Date32, here)),
            "date_trunc" | "datetrunc" | "date_part" | "datepart" => {
                let value = args.remove(1);
                let place = args[0].at;
                match args[0].constant_text() {
                    Some(unit) if name.ends_with("part") => self.date_part(unit, value, place),
                    Some(unit) => self.date_trunc(unit, value, place),
                    None => Err(at(place, format!("{name} takes its unit as a literal"))),
                }
            }
            "date_bin" => self.date_bin(args, here),
            "to_char" | "date_format" => {
                let format = self.argument(name, args.remove(1), Kind::Text)?;
                let value = self.time(args.remove(0))?;
                let of = type_argument(plain(&value.data_type));
                Ok(Typed::new(
                    format!("ma_to_char({}, {of}, {})", value.sql, format.sql),
                    DataType::Utf8,
                    here,
                ))
            }
            "make_date" => {
                let mut printed = Vec::new();
                for arg in args {
                    printed.push(self.argument(name, arg, Kind::Whole)?.sql);
                }
                Ok(Typed::new(format!("ma_make_date({})", printed.join(", ")), DataType::Date32, here))
            }
            _ => self.to_time(name, args.remove(0), here),
        }
    }

    fn date_bin(&mut self, mut args: Vec<Typed>, here: Location) -> Result<Typed, DatasetError> {
        let value = args.remove(1);
        let value = self.time(value)?;
        let Some(Constant::Interval { months: 0, days, nanos }) = args[0].constant else {
            return Err(at(args[0].at, "date_bin takes an INTERVAL without months as its first"));
        };
        let DataType::Timestamp(unit, _) = plain(&value.data_type) else {
            return Err(at(value.at, "date_bin is for timestamps"));
        };
        let width = i64::from(days).checked_mul(DAY_NANOS).and_then(|n| n.checked_add(nanos)).unwrap_or(0)
            / (1_000_000_000 / per_second(*unit));
        if width <= 0 {
            return Err(at(args[0].at, "date_bin takes an interval longer than the timestamp's unit"));
        }
        let data_type = value.data_type.clone();
        Ok(Typed::new(format!("ma_bin({}, {width})", value.sql), data_type, here))
    }

    #[allow(clippy::wrong_self_convention, reason = "named as the functions of SQL that it makes")]
    fn to_time(&mut self, name: &str, value: Typed, here: Location) -> Result<Typed, DatasetError> {
        let none = Metadata::new();
        match name {
            "to_date" | "date" => self.cast(value, &DataType::Date32, &none, OnFailure::Error),
            "to_unixtime" => {
                let value = self.time(value)?;
                let seconds = DataType::Timestamp(TimeUnit::Second, None);
                let value = self.cast(value, &seconds, &none, OnFailure::Error)?;
                Ok(Typed::new(value.sql, DataType::Int64, here))
            }
            "from_unixtime" => {
                let value = self.argument(name, value, Kind::Whole)?;
                Ok(Typed::new(value.sql, DataType::Timestamp(TimeUnit::Second, None), here))
            }
            _ => {
                let unit = match name {
                    "to_timestamp_seconds" => TimeUnit::Second,
                    "to_timestamp_millis" => TimeUnit::Millisecond,
                    "to_timestamp_micros" => TimeUnit::Microsecond,
                    _ => TimeUnit::Nanosecond,
                };
                let to = DataType::Timestamp(unit, None);
                if !value.class().is_number() {
                    return self.cast(value, &to, &none, OnFailure::Error);
                }
                let value = self.real(value);
                // plain to_timestamp takes numbers as seconds
                let sql = if name == "to_timestamp" {
                    format!("CAST(({} * 1000000000) AS INTEGER)", value.sql)
                } else {
                    format!("CAST({} AS INTEGER)", value.sql)
                };
                Ok(Typed::new(sql, to, here))
            }
        }
    }
}
