//! Counts one answer for its user, however it ends.

use super::admit::User;
use crate::api::Api;
use crate::llm::meter::BYTES_PER_TOKEN;
use crate::llm::usage::{Account, Ledger, Sums, hour_ms};
use crate::llm::{Provider, Tokens};
use crate::spec::llm::Price;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Where answers of one user and one model are counted.
#[derive(Debug, Clone)]
pub(super) struct Counter {
    ledger: Arc<Ledger>,
    account: Account,
    price: Option<Price>,
}

impl Counter {
    pub(super) fn new(
        api: &Api,
        user: &User,
        provider: Provider,
        model: &str,
        annotations: BTreeMap<String, String>,
        price: Option<Price>,
    ) -> Self {
        let account = Account {
            project: user.project,
            hour_ms: hour_ms(api.app.clock.now()),
            provider,
            model: model.to_owned(),
            room: user.room.clone(),
            user: user.name.clone(),
            delegation: user.delegation.as_ref().map(|delegation| delegation.id),
            annotations,
        };
        Self { ledger: Arc::clone(&api.llm.ledger), account, price }
    }

    pub(super) fn model(&self) -> &str {
        &self.account.model
    }

    /// Begins with one answer to a request of so many bytes.
    pub(super) fn answer(&self, request_bytes: usize) -> Answer {
        let input = request_bytes as u64 / BYTES_PER_TOKEN;
        let guess = Tokens { input, ..Tokens::default() };
        Answer { counter: self.clone(), counted: None, guess, free: false }
    }

    /// Counts a whole answer at once.
    pub(super) fn add(&self, tokens: Tokens) {
        self.answer(0).told(tokens, false);
    }

    fn cost_nanos(&self, tokens: &Tokens) -> u64 {
        self.price.as_ref().map_or(0, |price| {
            price.cost_nanos(tokens.input, tokens.cached, tokens.cache_write, tokens.output)
        })
    }
}

/// One answer, told of as it comes.
#[derive(Debug)]
pub(super) struct Answer {
    counter: Counter,
    counted: Option<Tokens>,
    /// What it counts for when it ends without a word.
    guess: Tokens,
    free: bool,
}

impl Answer {
    /// What is known now. What was counted before is not counted again.
    pub(super) fn told(&mut self, tokens: Tokens, estimated: bool) {
        if self.counted == Some(tokens) {
            return;
        }
        let first = self.counted.is_none();
        let old = self.counted.replace(tokens).unwrap_or_default();
        let more = |new: u64, old: u64| new.saturating_sub(old);
        let sums = Sums {
            requests: u64::from(first),
            estimated: u64::from(estimated),
            tokens: Tokens {
                input: more(tokens.input, old.input),
                cached: more(tokens.cached, old.cached),
                cache_write: more(tokens.cache_write, old.cache_write),
                output: more(tokens.output, old.output),
                reasoning: more(tokens.reasoning, old.reasoning),
            },
            cost_nanos: more(self.counter.cost_nanos(&tokens), self.counter.cost_nanos(&old)),
        };
        self.counter.ledger.add(self.counter.account.clone(), sums);
    }

    /// One more event of it passed.
    pub(super) fn event(&mut self) {
        self.guess.output = self.guess.output.saturating_add(1);
    }

    /// Whether something of it passed.
    pub(super) fn has_begun(&self) -> bool {
        self.guess.output > 0
    }

    /// Nothing was made: it counts for nothing.
    pub(super) fn free(mut self) {
        self.free = true;
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        if self.counted.is_none() && !self.free {
            self.told(self.guess, true);
        }
    }
}
