//! Pages, in the clients' two styles: cursor (`page_size`, `continuation_token`) and offset (`count`, `offset`).

use super::Problem;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;

/// Items on a page unless told.
pub const PAGE_DEFAULT: usize = 100;
/// Most items on a page.
pub const PAGE_MAX: usize = 1000;

#[derive(Debug, Default, Deserialize)]
pub(super) struct Paging {
    page_size: Option<usize>,
    count: Option<usize>,
    limit: Option<usize>,
    offset: Option<usize>,
    continuation_token: Option<String>,
    filter: Option<String>,
    view: Option<String>,
}

/// One page of what there is.
#[derive(Debug)]
pub(super) struct Page<T> {
    pub items: Vec<T>,
    pub total: usize,
    /// Where the next page begins; `None` on the last.
    pub next: Option<String>,
}

impl Paging {
    /// A page in the cursor style, of what was filtered already.
    pub fn of(page_size: Option<usize>, continuation_token: Option<String>) -> Self {
        Self { page_size, continuation_token, ..Self::default() }
    }

    /// Whether a name passes the filter: a part of it, whatever the case.
    pub fn wants(&self, name: &str) -> bool {
        let Some(filter) = self.filter.as_deref().filter(|f| !f.is_empty()) else { return true };
        name.to_lowercase().contains(&filter.to_lowercase())
    }

    /// Whether the inventory is asked for, and not only what callers work with.
    pub fn wants_all(&self) -> bool {
        self.view.as_deref() == Some("all")
    }

    /// Cuts a page out of all that passed the filter.
    pub fn cut<T>(&self, all: Vec<T>) -> Result<Page<T>, Problem> {
        let total = all.len();
        let size = self.page_size.or(self.count).or(self.limit).unwrap_or(PAGE_DEFAULT).clamp(1, PAGE_MAX);
        let start = match &self.continuation_token {
            Some(token) if !token.is_empty() => decode(token)?,
            _ => self.offset.unwrap_or(0),
        };
        let items: Vec<T> = all.into_iter().skip(start).take(size).collect();
        let end = start + items.len();
        let next = (end < total && !items.is_empty()).then(|| encode(end));
        Ok(Page { items, total, next })
    }
}

fn encode(start: usize) -> String {
    URL_SAFE_NO_PAD.encode(format!("o{start}"))
}

fn decode(token: &str) -> Result<usize, Problem> {
    let bad =
        || Problem::bad_request("this continuation_token was not given out here; begin again without it");
    let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| bad())?;
    let text = String::from_utf8(bytes).map_err(|_| bad())?;
    text.strip_prefix('o').and_then(|n| n.parse().ok()).ok_or_else(bad)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_follow_one_another_to_the_end_and_no_further() {
        let mut paging = Paging { page_size: Some(2), ..Paging::default() };
        let mut seen = vec![];
        loop {
            let page = paging.cut((0..5).collect()).unwrap();
            assert_eq!(page.total, 5);
            seen.extend(page.items);
            match page.next {
                Some(token) => paging.continuation_token = Some(token),
                None => break,
            }
        }
        assert_eq!(seen, vec![0, 1, 2, 3, 4]);
        paging.continuation_token = Some("nonsense".into());
        assert!(paging.cut(vec![1]).is_err());
    }
}
