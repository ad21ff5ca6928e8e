//! What requests say behind the question mark.

use super::Refusal;
use super::select::Selection;
use crate::id::Position;
use std::time::Duration;

/// Objects on a page, whatever is asked for.
pub const PAGE_MAX: usize = 1000;

/// All of it.
#[derive(Debug, Default)]
pub(super) struct Options {
    pub limit: Option<usize>,
    pub after: Option<String>,
    pub select: Selection,
    pub watch: bool,
    /// Where a watch begins; none is everything there is.
    pub from: Option<Position>,
    pub timeout: Option<Duration>,
    pub bookmarks: bool,
    /// A watch that begins with everything says where that ends.
    pub initial_events: bool,
    pub dry_run: bool,
    pub force: bool,
    pub manager: Option<String>,
    /// `Object`, `Metadata` or `None`: what rows of tables carry.
    pub include: String,
}

impl Options {
    pub fn of(query: &str) -> Result<Self, Refusal> {
        let mut options = Self::default();
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            options.take(&name, &value)?;
        }
        Ok(options)
    }

    fn take(&mut self, name: &str, value: &str) -> Result<(), Refusal> {
        let number = || {
            let wrong = |_| Refusal::bad_request(format!("{name}={value:?} is no number"));
            value.parse::<u64>().map_err(wrong)
        };
        match name {
            "limit" if !value.is_empty() => {
                let limit = usize::try_from(number()?).unwrap_or(PAGE_MAX);
                self.limit = Some(limit.min(PAGE_MAX)).filter(|limit| *limit > 0);
            }
            "continue" if !value.is_empty() => self.after = Some(value.to_owned()),
            "labelSelector" => self.select.by_labels(value)?,
            "fieldSelector" => self.select.by_fields(value)?,
            "watch" => self.watch = is_true(value),
            // 0 is whatever there is.
            "resourceVersion" if !value.is_empty() && value != "0" => {
                self.from = Some(Position(number()?));
            }
            "timeoutSeconds" if !value.is_empty() => {
                self.timeout = Some(Duration::from_secs(number()?)).filter(|limit| !limit.is_zero());
            }
            "allowWatchBookmarks" => self.bookmarks = is_true(value),
            "sendInitialEvents" => self.initial_events = is_true(value),
            "dryRun" if value == "All" => self.dry_run = true,
            "dryRun" if !value.is_empty() => {
                return Err(Refusal::bad_request(format!("dryRun={value:?} is not known; there is All")));
            }
            "force" => self.force = is_true(value),
            "fieldManager" if !value.is_empty() => self.manager = Some(value.to_owned()),
            "includeObject" => value.clone_into(&mut self.include),
            _ => {}
        }
        Ok(())
    }
}

fn is_true(value: &str) -> bool {
    matches!(value, "true" | "1" | "")
}
