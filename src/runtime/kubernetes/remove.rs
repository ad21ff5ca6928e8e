//! The end of a pod: asked, waited for, and forced where its node does not answer.

use super::KubernetesRuntime;
use super::fault::{Fault, ask};
use super::state::{GOING_LIMIT, Seen};
use crate::runtime::RunState;
use kube::api::{DeleteParams, Preconditions};
use std::time::Duration;

/// How long what is left over may take to end.
pub(super) const LEFT_OVER_GRACE: Duration = Duration::from_secs(10);
/// How long a node is waited for beyond the grace. Whoever asks again later waits again, until [`GOING_LIMIT`].
const NODE_LIMIT: Duration = Duration::from_secs(20);
/// How long the API server may take to forget a pod that was taken from its node.
const FORCED_LIMIT: Duration = Duration::from_secs(20);
/// How often the pod of another server, which is not followed, is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How long the watch may take to tell of a change before it is asked for.
const WATCH_PAUSE: Duration = Duration::from_secs(3);
/// Exit codes above this are those of signals.
const SIGNALS: i32 = 128;

/// We ended it, so a code of a signal is that signal.
pub(super) fn by_signal(state: RunState, asked: bool) -> RunState {
    match state {
        RunState::Exited { code: Some(code), signal: None } if asked && code > SIGNALS => {
            RunState::Exited { code: None, signal: Some(code - SIGNALS) }
        }
        other => other,
    }
}

impl KubernetesRuntime {
    /// Deletes this very pod with its Secrets, and returns when it is gone; how it was at last.
    pub(super) async fn remove(&self, seen: &Seen, grace: Duration) -> Result<Seen, Fault> {
        // Without any grace the API server would forget a pod whose processes still run.
        let seconds = u32::try_from(grace.as_secs()).unwrap_or(u32::MAX).max(1);
        self.delete(seen, seconds).await?;
        if !self.is_gone(seen, grace + NODE_LIMIT).await? {
            if self.view.going(seen) < GOING_LIMIT {
                return Err(Fault::Node);
            }
            // A node that is cut off may still run it: see docs/decisions/0018-pods.md.
            tracing::warn!(pod = seen.name, "its node does not end a pod; the pod is taken from the node");
            self.delete(seen, 0).await?;
            if !self.is_gone(seen, FORCED_LIMIT).await? {
                return Err(Fault::Node);
            }
        }
        for secret in &seen.secrets {
            match ask(self.secrets.delete(secret, &DeleteParams::default())).await {
                Ok(_) => {}
                Err(fault) if fault.is_absent() => {}
                // It goes with its owner, a little later.
                Err(fault) => tracing::warn!(secret, error = %fault, "the Secret of a pod remains"),
            }
        }
        Ok(self.view.last_of(&seen.uid).unwrap_or_else(|| seen.clone()))
    }

    async fn delete(&self, seen: &Seen, seconds: u32) -> Result<(), Fault> {
        let only = Preconditions { uid: Some(seen.uid.clone()), resource_version: None };
        let parameters = DeleteParams::default().grace_period(seconds).preconditions(only);
        match ask(self.pods.delete(&seen.name, &parameters)).await {
            Ok(_) => Ok(()),
            // Gone, or another one by now.
            Err(fault) if matches!(fault.code(), Some(404 | 409)) => {
                self.view.forget(&seen.name, &seen.uid, None);
                Ok(())
            }
            Err(fault) => Err(fault),
        }
    }

    /// Whether it went in time: the watch tells at once, and what it misses, or does not follow, is asked for.
    async fn is_gone(&self, seen: &Seen, limit: Duration) -> Result<bool, Fault> {
        let asked = async {
            loop {
                let is_followed = self.view.get(&seen.name).is_some_and(|known| known.uid == seen.uid);
                let pause = if is_followed { WATCH_PAUSE } else { LOOK_EVERY };
                let is_gone = |known: Option<&Seen>| is_followed && known.is_none();
                if self.view.until(&seen.name, &seen.uid, pause, is_gone).await {
                    return Ok(true);
                }
                let found = ask(self.pods.get_opt(&seen.name)).await?;
                if self.view.is_another(found.as_ref(), &seen.name, &seen.uid) {
                    return Ok(true);
                }
            }
        };
        tokio::time::timeout(limit, asked).await.unwrap_or(Ok(false))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_a_signal_only_where_we_sent_one() {
        let exited = |code| RunState::Exited { code: Some(code), signal: None };
        assert_eq!(by_signal(exited(143), true), RunState::Exited { code: None, signal: Some(15) });
        assert_eq!(by_signal(exited(143), false), exited(143));
        assert_eq!(by_signal(exited(3), true), exited(3));
    }
}
