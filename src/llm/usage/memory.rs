//! Usage in memory, for tests.

use super::{Account, Filter, ROWS_MAX, Sums, UsageError, UsageStore};
use async_trait::async_trait;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Sums that end with the process.
#[derive(Debug, Default)]
pub struct MemoryUsage(Mutex<BTreeMap<Account, Sums>>);

impl MemoryUsage {
    fn rows(&self) -> MutexGuard<'_, BTreeMap<Account, Sums>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl UsageStore for MemoryUsage {
    async fn add(&self, rows: Vec<(Account, Sums)>) -> Result<(), UsageError> {
        let mut all = self.rows();
        for (account, sums) in rows {
            *all.entry(account).or_default() += sums;
        }
        Ok(())
    }

    async fn rows(&self, filter: &Filter, span_ms: i64) -> Result<Vec<(Account, Sums)>, UsageError> {
        let mut spans: BTreeMap<Account, Sums> = BTreeMap::new();
        for (account, sums) in self.rows().iter().filter(|(account, _)| filter.takes(account)) {
            let hour_ms = account.hour_ms.div_euclid(span_ms) * span_ms;
            *spans.entry(Account { hour_ms, ..account.clone() }).or_default() += *sums;
        }
        if spans.len() > ROWS_MAX { Err(UsageError::Many) } else { Ok(spans.into_iter().collect()) }
    }

    async fn sum(&self, filter: &Filter) -> Result<Sums, UsageError> {
        let mut all = Sums::default();
        self.rows().iter().filter(|(account, _)| filter.takes(account)).for_each(|(_, sums)| all += *sums);
        Ok(all)
    }

    async fn forget(&self, before_ms: i64) -> Result<u64, UsageError> {
        let mut rows = self.rows();
        let before = rows.len();
        rows.retain(|account, _| account.hour_ms >= before_ms);
        Ok((before - rows.len()) as u64)
    }
}
