use super::*;
use chrono::{Datelike, NaiveDate, NaiveTime, TimeZone};
use proptest::prelude::*;
use std::collections::BTreeMap;

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

fn firings(text: &str, zone: &str, after: &str, count: usize) -> Vec<String> {
    let schedule = Schedule::parse(text, zone).unwrap();
    schedule
        .upcoming(at(after), at(after))
        .take(count)
        .map(|at| at.format("%dT%H:%M:%S").to_string())
        .collect()
}

#[test]
fn intervals_count_from_their_anchor() {
    let schedule = Schedule::parse("15 minutes", "UTC").unwrap();
    let anchor = at("2026-01-01T00:07:00Z");
    let next = |after| schedule.next_after(at(after), anchor).unwrap();
    assert_eq!(next("2025-01-01T00:00:00Z"), at("2026-01-01T00:22:00Z"));
    assert_eq!(next("2026-01-01T00:07:00Z"), at("2026-01-01T00:22:00Z"));
    assert_eq!(next("2026-01-01T00:22:00Z"), at("2026-01-01T00:37:00Z"));
    assert_eq!(next("2026-01-02T00:21:59Z"), at("2026-01-02T00:22:00Z"));
    for text in ["1 second", " 2  Minutes ", "1 hour", "3 days"] {
        assert!(Schedule::parse(text, "UTC").is_ok(), "{text}");
    }
}

#[test]
fn cron_lines_and_words() {
    assert_eq!(firings("30 17 * * *", "UTC", "2026-01-01T18:00:00Z", 2), ["02T17:30:00", "03T17:30:00"]);
    assert_eq!(firings("30 17 * * *", "Europe/Berlin", "2026-01-01T00:00:00Z", 1), ["01T16:30:00"]);
    assert_eq!(firings("* * * * * */30", "UTC", "2026-01-01T00:00:00Z", 2), ["01T00:00:30", "01T00:01:00"]);
    assert_eq!(firings("0 9 * * mon", "UTC", "2026-01-01T00:00:00Z", 1), ["05T09:00:00"]);
    assert_eq!(
        firings("0 0 13 * 5", "UTC", "2026-01-01T00:00:00Z", 3),
        ["02T00:00:00", "09T00:00:00", "13T00:00:00"]
    );
    assert_eq!(firings("@hourly", "UTC", "2026-01-01T00:00:00Z", 1), ["01T01:00:00"]);
    assert_eq!(firings("@Daily", "UTC", "2026-01-01T00:00:00Z", 1), ["02T00:00:00"]);
    assert_eq!(firings("0 0 29 2 *", "UTC", "2026-01-01T00:00:00Z", 1), ["29T00:00:00"]);
}

#[test]
fn what_is_no_schedule_is_refused_with_the_reason() {
    for (text, part) in [
        ("", "a cron line has 5 fields"),
        ("soon", "this has 1"),
        ("15 fortnights", "`fortnights` is not second(s)"),
        ("0 minutes", "`0` is not a whole number from 1 to"),
        ("-5 minutes", "`-5` is not"),
        ("99999999999999999999 days", "is not a whole number"),
        ("61 * * * *", "is not a schedule"),
        ("* * * * * * *", "this has 7"),
        ("@reboot", "`@reboot` is not @yearly"),
        ("x * * * *", "is not a schedule"),
    ] {
        let message = Schedule::parse(text, "UTC").unwrap_err().to_string();
        assert!(message.contains(part), "{text}: {message}");
    }
    let zone = Schedule::parse("@daily", "Mars/Olympus").unwrap_err();
    assert_eq!(
        zone.to_string(),
        "`Mars/Olympus` is not a time zone; write an IANA name such as `Europe/Berlin` or `UTC`"
    );
    assert!(Schedule::parse(&"1".repeat(10_000), "UTC").is_err());
}

#[test]
fn what_never_fires_is_refused() {
    for text in ["0 0 30 2 *", "0 0 31 4 *", "* * 31 2,4,6,9,11 * */5"] {
        let refused = Schedule::parse(text, "UTC").unwrap_err();
        assert_eq!(refused, InvalidSchedule::NeverFires { text: text.to_owned() });
    }
}

#[test]
fn the_hosted_floor_of_15_minutes_is_met_as_there() {
    let floor = TimeDelta::minutes(15);
    for good in ["*/15 * * * *", "15 minutes", "@hourly", "0 0 1 1 *"] {
        Schedule::parse(good, "UTC").unwrap().check_gap(floor).unwrap();
    }
    for bad in ["*/10 * * * *", "30 seconds", "* * * * * */30", "0,5 0 1 6 *"] {
        let refused = Schedule::parse(bad, "UTC").unwrap().check_gap(floor).unwrap_err().to_string();
        assert!(refused.contains("no more frequently than every 900 s"), "{refused}");
    }
}

#[test]
fn a_task_that_runs_once_may_be_close() {
    let task = |once| -> ScheduledTask {
        serde_json::from_value(serde_json::json!({
            "schedule": "5 seconds", "once": once, "queue": { "name": "q" },
        }))
        .unwrap()
    };
    let floor = TimeDelta::seconds(GAP_SECONDS_MIN);
    assert!(Schedule::of_task(&task(true), floor).is_ok());
    assert!(Schedule::of_task(&task(false), floor).is_err());
}

#[test]
fn a_time_in_the_gap_fires_right_after_it_and_a_doubled_time_once() {
    // Berlin 2026: 29 March 02:00 becomes 03:00, 25 October 03:00 becomes 02:00.
    assert_eq!(
        firings("30 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z", 2),
        ["29T01:00:00", "30T00:30:00"]
    );
    assert_eq!(
        firings("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z", 2),
        ["25T00:30:00", "26T01:30:00"]
    );
}

const ZONES: [&str; 6] =
    ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "America/Santiago", "Asia/Kathmandu"];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// A daily time fires on every day of the zone's calendar exactly once, whatever its clocks do.
    #[test]
    fn a_daily_time_fires_once_a_day(
        zone in prop::sample::select(&ZONES[..]), hour in 0_u32..24, minute in 0_u32..60, year in 2024_i32..2032,
    ) {
        let tz: Tz = zone.parse().unwrap();
        let schedule = Schedule::parse(&format!("{minute} {hour} * * *"), zone).unwrap();
        let noon = NaiveTime::from_hms_opt(12, 0, 0).unwrap();
        let first = NaiveDate::from_ymd_opt(year, 1, 1).unwrap();
        let start = tz.from_local_datetime(&first.and_time(noon)).unwrap().with_timezone(&Utc);
        let mut days: BTreeMap<NaiveDate, u32> = BTreeMap::new();
        for firing in schedule.upcoming(start, start).take(365) {
            *days.entry(firing.with_timezone(&tz).date_naive()).or_default() += 1;
        }
        prop_assert!(days.values().all(|count| *count == 1), "{days:?}");
        let span = days.last_key_value().unwrap().0.num_days_from_ce() - days.first_key_value().unwrap().0.num_days_from_ce();
        prop_assert_eq!(span, 364, "no day is left out");
    }

    /// Every quarter of an hour stays every quarter of an hour in real time over all clock changes.
    #[test]
    fn quarters_are_even_in_real_time(zone in prop::sample::select(&ZONES[..]), day in 0_i64..2000) {
        let schedule = Schedule::parse("*/15 * * * *", zone).unwrap();
        let start = at("2024-01-01T00:00:00Z") + TimeDelta::days(day);
        let all: Vec<_> = schedule.upcoming(start, start).take(96).collect();
        for pair in all.windows(2) {
            prop_assert_eq!(pair[1] - pair[0], TimeDelta::minutes(15));
        }
    }

    /// Firings move strictly forward, and asking from between two of them gives the second.
    #[test]
    fn firings_only_move_forward(
        zone in prop::sample::select(&ZONES[..]), minute in 0_u32..60, hours in "[0-9]|1[0-9]|\\*|\\*/3",
        day in 0_i64..1500, second in 0_i64..86_400,
    ) {
        let schedule = Schedule::parse(&format!("{minute} {hours} * * *"), zone).unwrap();
        let start = at("2024-01-01T00:00:00Z") + TimeDelta::days(day) + TimeDelta::seconds(second);
        let first = schedule.next_after(start, start).unwrap();
        let next = schedule.next_after(first, start).unwrap();
        prop_assert!(start < first && first < next);
        let between = first + (next - first) / 2;
        prop_assert_eq!(schedule.next_after(between, start).unwrap(), next);
        prop_assert_eq!(schedule.next_after(next - TimeDelta::milliseconds(1), start).unwrap(), next);
    }

    /// Intervals: strictly after, on the grid, and never more than one period away.
    #[test]
    fn intervals_stay_on_their_grid(period in 1_i64..100_000, offset in -1_000_000_i64..10_000_000_000) {
        let schedule = Schedule::parse(&format!("{period} seconds"), "UTC").unwrap();
        let anchor = at("2026-01-01T00:00:00Z");
        let after = anchor + TimeDelta::milliseconds(offset);
        let next = schedule.next_after(after, anchor).unwrap();
        prop_assert!(next > after && next > anchor);
        prop_assert_eq!((next - anchor).num_milliseconds() % (period * 1000), 0);
        prop_assert!(next - after.max(anchor) <= TimeDelta::seconds(period));
    }

    #[test]
    fn no_text_breaks_the_reader(text in "\\PC{0,40}", line in "([0-9*/,@LW#?-]{1,4} ){4,6}") {
        let _ = Schedule::parse(&text, "UTC");
        let _ = Schedule::parse(&line, "UTC");
    }
}
