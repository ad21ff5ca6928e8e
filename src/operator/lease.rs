//! One operator of several does the work: the one that holds the Lease. Time is that of each operator's own clock: the
//! others take over when they saw no renewal for as long as the lease lasts.

use super::drive::OperatorError;
use crate::clock::Clock;
use chrono::SecondsFormat;
use kube::Api;
use kube::api::PostParams;
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// How long a lease holds without a renewal.
pub const LEASE: Duration = Duration::from_secs(15);
/// How often it is renewed, and how often those who wait look.
pub const RENEW_EVERY: Duration = Duration::from_secs(4);
/// The holder stops when it could not renew for so long: before the others take over.
pub const GIVE_UP_AFTER: Duration = Duration::from_secs(10);

/// A cluster that just started refuses what it will allow; one that refuses so often in a row means it.
const REFUSALS_MAX: u32 = 5;

/// The lease by which operators agree who works.
pub struct Lease {
    api: Api<DynamicObject>,
    kind: ApiResource,
    name: String,
    identity: String,
    clock: Arc<dyn Clock>,
}

/// What was seen of another's lease.
struct Seen {
    renewal: String,
    at: Instant,
}

impl Lease {
    pub fn new(
        client: kube::Client,
        namespace: &str,
        name: String,
        identity: String,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let gvk = GroupVersionKind::gvk("coordination.k8s.io", "v1", "Lease");
        let kind = ApiResource::from_gvk_with_plural(&gvk, "leases");
        Self { api: Api::namespaced_with(client, namespace, &kind), kind, name, identity, clock }
    }

    /// Waits until this operator holds the lease; `false` when it is to stop before.
    pub async fn acquire(&self, stop: &CancellationToken) -> Result<bool, OperatorError> {
        let mut seen: Option<Seen> = None;
        let mut look = tokio::time::interval(RENEW_EVERY);
        let mut refusals = 0;
        loop {
            tokio::select! {
                () = stop.cancelled() => return Ok(false),
                _ = look.tick() => {}
            }
            match self.try_take(&mut seen).await {
                Ok(true) => return Ok(true),
                Ok(false) => refusals = 0,
                Err(error) if is_refused(&error) && refusals + 1 >= REFUSALS_MAX => {
                    return Err(OperatorError::Lease(error));
                }
                Err(error) if is_refused(&error) => refusals += 1,
                Err(error) => tracing::warn!(%error, "the lease cannot be looked at"),
            }
        }
    }

    async fn try_take(&self, seen: &mut Option<Seen>) -> Result<bool, kube::Error> {
        let Some(mut lease) = self.api.get_opt(&self.name).await? else {
            let mut lease = DynamicObject::new(&self.name, &self.kind);
            lease.data = json!({"spec": self.spec(0)});
            return taken(self.api.create(&PostParams::default(), &lease).await);
        };
        let spec = lease.data.get("spec").cloned().unwrap_or_default();
        let holder = spec["holderIdentity"].as_str().unwrap_or_default();
        let renewal = format!("{holder} {}", spec["renewTime"]);
        let now = Instant::now();
        let since = match seen {
            Some(known) if known.renewal == renewal => known.at,
            _ => {
                *seen = Some(Seen { renewal, at: now });
                now
            }
        };
        let lasts = spec["leaseDurationSeconds"].as_u64().map_or(LEASE, Duration::from_secs);
        let is_free = holder.is_empty() || holder == self.identity || now - since >= lasts;
        if !is_free {
            return Ok(false);
        }
        let transitions = spec["leaseTransitions"].as_u64().unwrap_or_default() + 1;
        lease.data["spec"] = self.spec(transitions);
        taken(self.api.replace(&self.name, &PostParams::default(), &lease).await)
    }

    fn spec(&self, transitions: u64) -> Value {
        let now = self.now();
        json!({"holderIdentity": self.identity, "leaseDurationSeconds": LEASE.as_secs(), "acquireTime": now,
            "renewTime": now, "leaseTransitions": transitions})
    }

    fn now(&self) -> String {
        self.clock.now().to_rfc3339_opts(SecondsFormat::Micros, true)
    }

    /// Renews the lease until `term` ends; ends `term` itself when the lease is lost.
    pub async fn hold(&self, term: &CancellationToken) {
        let mut renewed = Instant::now();
        let mut tick = tokio::time::interval(RENEW_EVERY);
        tick.tick().await;
        loop {
            tokio::select! {
                () = term.cancelled() => return,
                _ = tick.tick() => {}
            }
            let left = GIVE_UP_AFTER.saturating_sub(renewed.elapsed());
            match tokio::time::timeout(left, self.renew()).await {
                Ok(Ok(true)) => renewed = Instant::now(),
                Ok(Ok(false)) => {
                    tracing::warn!("another operator holds the lease; this one stops working");
                    return term.cancel();
                }
                Ok(Err(error)) => tracing::warn!(%error, "the lease was not renewed"),
                Err(_) => {}
            }
            if renewed.elapsed() >= GIVE_UP_AFTER {
                tracing::warn!("the lease could not be renewed in time; this operator stops working");
                return term.cancel();
            }
        }
    }

    /// `false` when another holds it.
    async fn renew(&self) -> Result<bool, kube::Error> {
        let mut lease = self.api.get(&self.name).await?;
        if lease.data["spec"]["holderIdentity"] != self.identity.as_str() {
            return Ok(false);
        }
        lease.data["spec"]["renewTime"] = json!(self.now());
        taken(self.api.replace(&self.name, &PostParams::default(), &lease).await)
    }

    /// Lets the next one begin at once. Where that fails, the next one waits.
    pub async fn release(&self) {
        let release = async {
            let mut lease = self.api.get(&self.name).await?;
            if lease.data["spec"]["holderIdentity"] == self.identity.as_str() {
                lease.data["spec"]["holderIdentity"] = json!("");
                self.api.replace(&self.name, &PostParams::default(), &lease).await?;
            }
            Ok::<(), kube::Error>(())
        };
        match tokio::time::timeout(RENEW_EVERY, release).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, "the lease was not given back"),
            Err(_) => tracing::debug!("the lease was not given back in time"),
        }
    }
}

/// Somebody else may be faster.
fn taken(written: Result<DynamicObject, kube::Error>) -> Result<bool, kube::Error> {
    match written {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(false),
        Err(error) => Err(error),
    }
}

/// Waiting does not help where the operator may not.
fn is_refused(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if matches!(status.code, 401 | 403 | 404))
}
