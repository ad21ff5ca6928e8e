//! What the operator tells of itself: whether it lives, whether it does the work, and how much of it.

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use std::fmt::Write;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use tokio::net::TcpListener;

/// What came of one look at an object.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    Applied,
    Refused,
    Waiting,
    Unreachable,
    Deleted,
}

const OUTCOMES: [(&str, Outcome); 5] = [
    ("applied", Outcome::Applied),
    ("refused", Outcome::Refused),
    ("waiting", Outcome::Waiting),
    ("unreachable", Outcome::Unreachable),
    ("deleted", Outcome::Deleted),
];

/// Counters and states, for probes and metrics.
#[derive(Debug, Default)]
pub struct Health {
    /// It reached the cluster, and does the work or waits for its turn.
    ready: AtomicBool,
    leads: AtomicBool,
    terms: AtomicU64,
    outcomes: [AtomicU64; OUTCOMES.len()],
}

impl Health {
    pub(super) fn set_ready(&self, ready: bool) {
        self.ready.store(ready, Ordering::Relaxed);
    }

    pub(super) fn set_leads(&self, leads: bool) {
        if leads {
            self.terms.fetch_add(1, Ordering::Relaxed);
        }
        self.leads.store(leads, Ordering::Relaxed);
    }

    pub(super) fn count(&self, outcome: Outcome) {
        if let Some(at) = OUTCOMES.iter().position(|(_, known)| *known == outcome) {
            self.outcomes[at].fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Whether it does the work now, and is not a spare.
    pub fn leads(&self) -> bool {
        self.leads.load(Ordering::Relaxed)
    }

    /// Metrics as Prometheus reads them.
    #[must_use]
    pub fn metrics(&self) -> String {
        let mut text = String::from("# TYPE meshagent_operator_reconciles_total counter\n");
        for ((name, _), count) in OUTCOMES.iter().zip(&self.outcomes) {
            let count = count.load(Ordering::Relaxed);
            let _ = writeln!(text, "meshagent_operator_reconciles_total{{outcome=\"{name}\"}} {count}");
        }
        let _ = writeln!(text, "# TYPE meshagent_operator_leader gauge");
        let _ = writeln!(text, "meshagent_operator_leader {}", u8::from(self.leads()));
        let _ = writeln!(text, "# TYPE meshagent_operator_terms_total counter");
        let _ = writeln!(text, "meshagent_operator_terms_total {}", self.terms.load(Ordering::Relaxed));
        text
    }

    /// Answers `/healthz`, `/readyz` and `/metrics` until it is to stop.
    pub async fn serve(
        self: Arc<Self>,
        listener: TcpListener,
        stop: impl Future<Output = ()> + Send + 'static,
    ) -> std::io::Result<()> {
        let router = Router::new()
            .route("/healthz", get(|| async { "ok\n" }))
            .route("/readyz", get(readyz))
            .route("/metrics", get(metrics))
            .with_state(self);
        axum::serve(listener, router).with_graceful_shutdown(stop).await
    }
}

async fn readyz(State(health): State<Arc<Health>>) -> (StatusCode, &'static str) {
    if health.ready.load(Ordering::Relaxed) {
        (StatusCode::OK, "ok\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "the cluster is not reached yet\n")
    }
}

async fn metrics(State(health): State<Arc<Health>>) -> String {
    health.metrics()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_counted_is_told() {
        let health = Health::default();
        health.count(Outcome::Refused);
        health.set_leads(true);
        let text = health.metrics();
        assert!(
            text.contains("outcome=\"refused\"} 1\n") && text.contains("outcome=\"applied\"} 0\n"),
            "{text}"
        );
        assert!(text.contains("meshagent_operator_leader 1\n") && text.contains("terms_total 1\n"), "{text}");
    }
}
