//! How controllers treat a resource: annotations that any of the kinds below may have.

use super::common::Annotations;
use super::document::{Document, Kind};
use super::problem::{Finding, Path, listing, nearest, shown};
use chrono::{DateTime, Utc};

/// What the annotations here begin with.
const PREFIX: &str = "meshagent.dev/";
/// What custom resources have beside, for `meshagent operator`; in documents they say nothing.
const OF_OBJECTS: [&str; 3] = ["suspend", "force-conflicts", "on-delete"];
/// Annotation: `true` has controllers leave the resource alone.
pub const PAUSED: &str = "meshagent.dev/paused";
/// Annotation: how often it is looked at at least, such as `30s`, `5m` or `2h`.
pub const INTERVAL: &str = "meshagent.dev/reconcile-interval";
/// Annotation: a number; of what waits for its turn in a project, the highest is first.
pub const PRIORITY: &str = "meshagent.dev/priority";
/// Shortest interval, seconds.
pub const INTERVAL_SECONDS_MIN: u64 = 10;
/// Longest interval, seconds.
pub const INTERVAL_SECONDS_MAX: u64 = 24 * 3600;
/// Highest priority.
pub const PRIORITY_MAX: u16 = 1000;
/// Priority of what says none.
pub const PRIORITY_DEFAULT: u16 = 500;

/// What the annotations of a resource say.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Cadence {
    pub paused: bool,
    /// From [`INTERVAL_SECONDS_MIN`] to [`INTERVAL_SECONDS_MAX`].
    pub interval_seconds: Option<u64>,
    /// Up to [`PRIORITY_MAX`].
    pub priority: Option<u16>,
}

impl Cadence {
    /// What cannot be read is as if it were not said.
    #[must_use]
    pub fn of(notes: Option<&Annotations>) -> Self {
        let said = |key: &str| notes.and_then(|notes| notes.get(key));
        Self {
            paused: said(PAUSED).is_some_and(|text| text == "true"),
            interval_seconds: said(INTERVAL).and_then(|text| interval(text).ok()),
            priority: said(PRIORITY).and_then(|text| priority(text).ok()),
        }
    }

    /// The priority that counts.
    #[must_use]
    pub fn rank(self) -> u16 {
        self.priority.unwrap_or(PRIORITY_DEFAULT)
    }

    /// Since when it is paused: since `before`, where it was already, else since `at`.
    #[must_use]
    pub fn paused_at(self, before: Option<DateTime<Utc>>, at: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.paused.then(|| before.unwrap_or(at))
    }
}

/// Whether an annotation is one of these: they say nothing of what a resource is.
#[must_use]
pub fn is_cadence(key: &str) -> bool {
    matches!(key, PAUSED | INTERVAL | PRIORITY)
}

/// Annotations without these.
#[must_use]
pub fn without_cadence(notes: &Annotations) -> Annotations {
    notes
        .iter()
        .filter(|(key, _)| !is_cadence(key))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

/// Has `notes` say of this only what `others` say of this.
pub fn take_cadence(notes: &mut Option<Annotations>, others: &Annotations) {
    if let Some(notes) = notes {
        notes.retain(|key, _| !is_cadence(key));
    }
    let mut said = others.iter().filter(|(key, _)| is_cadence(key)).peekable();
    if said.peek().is_some() {
        let said = said.map(|(key, value)| (key.clone(), value.clone()));
        notes.get_or_insert_default().extend(said);
    }
}

/// The annotations here that mean something for a kind; none where nothing is done for its resources.
#[must_use]
pub const fn known(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::Service | Kind::ServiceInstance | Kind::ManagedAgent => &[PAUSED, INTERVAL, PRIORITY],
        Kind::GitSource => &[PAUSED, PRIORITY],
        Kind::ScheduledTask | Kind::Subscription => &[PAUSED],
        _ => &[],
    }
}

/// A duration such as `90s`, as seconds; an error says what is wrong with it.
fn interval(text: &str) -> Result<u64, String> {
    let wrong = || format!("`{}` is no duration; write it like `30s`, `5m` or `2h`", shown(text));
    let (number, unit) = text.split_at_checked(text.len().saturating_sub(1)).ok_or_else(wrong)?;
    let factor = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => return Err(wrong()),
    };
    let digits = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    let number: u64 = number.parse().ok().filter(|_| digits).ok_or_else(wrong)?;
    let seconds = number.saturating_mul(factor);
    if (INTERVAL_SECONDS_MIN..=INTERVAL_SECONDS_MAX).contains(&seconds) {
        return Ok(seconds);
    }
    Err(format!("an interval is from {INTERVAL_SECONDS_MIN}s to {}h", INTERVAL_SECONDS_MAX / 3600))
}

fn priority(text: &str) -> Result<u16, String> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let number = text.parse().ok().filter(|number| digits && *number <= PRIORITY_MAX);
    number.ok_or_else(|| format!("`{}` is no priority; write a number from 0 to {PRIORITY_MAX}", shown(text)))
}

/// What is wrong with the annotations of a document. Those of a template are nobody's: its instances say theirs.
pub(super) fn check(document: &Document) -> Vec<Finding> {
    let kind = document.kind();
    let notes = document.annotations().filter(|_| kind != Kind::ServiceTemplate);
    let notes = notes.into_iter().flatten().filter(|(key, _)| key.starts_with(PREFIX));
    notes.filter_map(|(key, value)| wrong(kind, key, value)).collect()
}

fn wrong(kind: Kind, key: &str, value: &str) -> Option<Finding> {
    let notes = if kind == Kind::Mailbox { "annotations" } else { "metadata.annotations" };
    let say = |text: String| Finding::new(Path::of(notes).key(key), text);
    if !known(kind).contains(&key) {
        return unknown(kind, key, say);
    }
    let wrong = match key {
        PAUSED if matches!(value, "true" | "false") => None,
        PAUSED => Some(format!("`{}` is neither `true` nor `false`", shown(value))),
        INTERVAL => interval(value).err(),
        _ => priority(value).err(),
    };
    wrong.map(say)
}

/// Those that are like one of these, or are meant for other kinds. Others may be anybody's.
fn unknown(kind: Kind, key: &str, say: impl Fn(String) -> Finding) -> Option<Finding> {
    let bare = |key: &'static str| key.strip_prefix(PREFIX).unwrap_or(key);
    if !is_cadence(key) {
        let word = key.strip_prefix(PREFIX).filter(|word| !OF_OBJECTS.contains(word))?;
        let near = nearest(word, known(kind).iter().map(|key| bare(key)))?;
        let finding = say(format!("there is no annotation `{}`", shown(key)));
        return Some(finding.hint(format!("did you mean `{PREFIX}{near}`?")));
    }
    let finding = say(format!("`{key}` means nothing for a {kind}"));
    Some(match (kind, key, known(kind)) {
        (Kind::GitSource, INTERVAL, _) => finding.hint("write `interval_seconds`"),
        (_, _, []) => finding.hint("remove it: no controller works on resources of this kind"),
        (_, _, known) => finding.hint(format!("of these there are {}", listing(known.iter().copied()))),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn notes(pairs: &[(&str, &str)]) -> Annotations {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn what_is_said_is_read_and_bounded() {
        let read = |text: &str| Cadence::of(Some(&notes(&[(INTERVAL, text)]))).interval_seconds;
        for (text, seconds) in [("10s", 10), ("5m", 300), ("24h", 86_400), ("090s", 90)] {
            assert_eq!(read(text), Some(seconds), "{text}");
        }
        for text in [
            "9s",
            "25h",
            "",
            "s",
            "5",
            "5 m",
            "-5m",
            "+5m",
            "1e3s",
            "5d",
            "99999999999999999999h",
            "5ß",
            "٣m",
        ] {
            assert_eq!(read(text), None, "{text}");
            assert!(interval(text).is_err(), "{text}");
        }
        let rank = |text: &str| Cadence::of(Some(&notes(&[(PRIORITY, text)]))).rank();
        assert_eq!([rank("0"), rank("1000"), rank("1001"), rank("-1"), rank("+7")], [0, 1000, 500, 500, 500]);
        let paused = |text: &str| Cadence::of(Some(&notes(&[(PAUSED, text)]))).paused;
        assert!(paused("true") && !paused("false") && !paused("yes") && !Cadence::of(None).paused);
    }

    #[test]
    fn a_pause_lasts_since_it_began() {
        let at = |seconds| DateTime::from_timestamp(seconds, 0).unwrap();
        let paused = Cadence { paused: true, ..Cadence::default() };
        assert_eq!(paused.paused_at(None, at(5)), Some(at(5)));
        assert_eq!(paused.paused_at(Some(at(1)), at(5)), Some(at(1)));
        assert_eq!(Cadence::default().paused_at(Some(at(1)), at(5)), None);
    }

    #[test]
    fn bad_values_and_places_are_refused_with_their_path() {
        let said = |document: serde_json::Value| -> Vec<String> {
            let problems = super::super::document_from_json(document).err().unwrap_or_default();
            problems
                .iter()
                .map(|p| format!("{}: {} ({})", p.path, p.message, p.hint.as_deref().unwrap_or("")))
                .collect()
        };
        let service = |key: &str, value: &str| {
            json!({"version": "v1", "kind": "Service", "metadata": {"name": "a", "annotations": {key: value}},
                "container": {"image": "i"}})
        };
        let at = |key: &str| format!("metadata.annotations[\"{key}\"]: ");
        for (key, value, text) in [
            (PAUSED, "yes", "`yes` is neither"),
            (INTERVAL, "5", "`5` is no duration"),
            (INTERVAL, "2s", "an interval is from 10s to 24h"),
            (PRIORITY, "1001", "no priority"),
            (
                "meshagent.dev/pause",
                "true",
                "there is no annotation `meshagent.dev/pause` (did you mean `meshagent.dev/paused`?)",
            ),
        ] {
            let said = said(service(key, value));
            assert!(said.len() == 1 && said[0].starts_with(&at(key)) && said[0].contains(text), "{said:?}");
        }
        for (key, value) in
            [(PAUSED, "true"), ("meshagent.dev/suspend", "true"), ("meshagent.dev/on-delete", "orphan")]
        {
            assert_eq!(said(service(key, value)), Vec::<String>::new(), "{key}");
        }
        let room = json!({"version": "v1", "kind": "Room", "metadata": {"name": "a", "annotations": {PAUSED: "true"}}});
        assert!(said(room)[0].contains("means nothing for a Room"));
        let source = json!({"version": "v1", "kind": "GitSource", "url": "https://h/r",
            "metadata": {"name": "a", "annotations": {INTERVAL: "5m"}}});
        assert!(said(source)[0].contains("write `interval_seconds`"));
    }
}
