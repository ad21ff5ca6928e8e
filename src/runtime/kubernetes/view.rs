//! The pods of this server as the API server showed them last: listed once, then followed. Questions cost no request.
//!
//! What is not in the list is absent only while the list is followed; once that is cut, everything is unknown.

use super::K8sPod;
use super::fault::{Fault, ask};
use super::state::{Seen, Stage, Trouble};
use crate::runtime::{InstanceKey, LogSink, Observed, OutputLine, RunState, Stream};
use futures_util::StreamExt as _;
use kube::Api;
use kube::api::{ListParams, WatchEvent, WatchParams};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// Pods asked for at a time.
const PAGE: u32 = 500;
/// How long one watch lasts, seconds; the next begins where it ended.
const WATCH_SECONDS: u32 = 60;
/// A watch that the API server did not end by then is dead.
const WATCH_LIMIT: Duration = Duration::from_secs(75);
/// First pause after the API server was not reached; each further one is twice as long.
const PAUSE_FIRST: Duration = Duration::from_millis(250);
const PAUSE_MAX: Duration = Duration::from_secs(15);
/// What a node says of a container whose Secret is not there.
const SECRET_MISSING: &str = "CreateContainerConfigError";
/// From then on that is told.
const SECRET_LIMIT: Duration = Duration::from_secs(10);
/// How many of the pods that went are remembered.
const GONE_MAX: usize = 1024;

#[derive(Debug)]
enum Link {
    /// Not listed yet; why, where that was tried.
    Never(Option<String>),
    Up,
    Down(String),
}

/// A pod, and since when it is known.
struct Known {
    seen: Seen,
    since: Instant,
    going_since: Option<Instant>,
    /// Reason of the trouble that was told last.
    told: Option<String>,
}

impl Known {
    fn run(&self) -> Option<RunState> {
        self.seen.run(self.since.elapsed(), self.going_since.map(|since| since.elapsed()))
    }

    fn observed(&self) -> Observed {
        let Some(state) = self.run() else { return Observed::Unknown };
        let handle = Some(self.seen.name.clone());
        Observed::Present { handle, state, started_at: self.seen.started_at }
    }
}

struct Inner {
    link: Link,
    /// By name.
    pods: BTreeMap<String, Known>,
    /// Where the troubles of pods that this run of the server started are told.
    sinks: BTreeMap<String, LogSink>,
    /// The newest that went: how they were then, by the API server's own identifier.
    gone: VecDeque<Seen>,
    /// Since when pods of other servers are about to go, by identifier.
    others_going: BTreeMap<String, Instant>,
}

/// What is known of the pods.
pub(super) struct View {
    inner: Mutex<Inner>,
    changes: watch::Sender<u64>,
    exits: watch::Sender<u64>,
}

fn count(counter: &watch::Sender<u64>) {
    counter.send_modify(|count| *count = count.wrapping_add(1));
}

impl View {
    pub fn new() -> Self {
        let inner = Inner {
            link: Link::Never(None),
            pods: BTreeMap::new(),
            sinks: BTreeMap::new(),
            gone: VecDeque::new(),
            others_going: BTreeMap::new(),
        };
        let (changes, exits) = (watch::Sender::new(0), watch::Sender::new(0));
        Self { inner: Mutex::new(inner), changes, exits }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts the ends of instances, and what else changes what is observed.
    pub fn exits(&self) -> watch::Receiver<u64> {
        self.exits.subscribe()
    }

    /// Counts all changes.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// `Err` says why the pods are not known now.
    pub fn link(&self) -> Result<(), String> {
        match &self.inner().link {
            Link::Up => Ok(()),
            Link::Never(None) => Err("the pods of the cluster are not listed yet".to_owned()),
            Link::Never(Some(why)) | Link::Down(why) => Err(why.clone()),
        }
    }

    /// Whether the pods were ever listed.
    pub fn was_listed(&self) -> bool {
        !matches!(self.inner().link, Link::Never(_))
    }

    pub fn get(&self, name: &str) -> Option<Seen> {
        self.inner().pods.get(name).map(|known| known.seen.clone())
    }

    /// What a pod does, where it is there; `None` within while that is not known.
    pub fn run(&self, name: &str) -> Option<Option<RunState>> {
        self.inner().pods.get(name).map(Known::run)
    }

    /// How long this very pod, which was deleted, is known to be about to go.
    pub fn going(&self, seen: &Seen) -> Duration {
        let mut inner = self.inner();
        if let Some(known) = inner.pods.get(&seen.name).filter(|known| known.seen.uid == seen.uid) {
            return known.going_since.map(|since| since.elapsed()).unwrap_or_default();
        }
        if inner.others_going.len() >= GONE_MAX {
            inner.others_going.clear();
        }
        inner.others_going.entry(seen.uid.clone()).or_insert_with(Instant::now).elapsed()
    }

    /// How a pod was when it went.
    pub fn last_of(&self, uid: &str) -> Option<Seen> {
        self.inner().gone.iter().rev().find(|seen| seen.uid == uid).cloned()
    }

    pub fn observed(&self) -> Vec<(InstanceKey, Observed)> {
        let inner = self.inner();
        let is_up = matches!(inner.link, Link::Up);
        let all = inner.pods.values();
        let mut all: Vec<_> = all
            .map(|known| (known.seen.key.clone(), if is_up { known.observed() } else { Observed::Unknown }))
            .collect();
        all.sort_by(|a, b| a.0.cmp(&b.0));
        all
    }

    pub fn observed_one(&self, name: &str) -> Observed {
        let inner = self.inner();
        match (&inner.link, inner.pods.get(name)) {
            (Link::Up, seen) => seen.map_or(Observed::Absent, Known::observed),
            (Link::Never(_) | Link::Down(_), _) => Observed::Unknown,
        }
    }

    /// Takes a newer state of a pod; with a `sink` its troubles are told there from now on.
    pub fn put(&self, seen: Seen, sink: Option<LogSink>) {
        let mut inner = self.inner();
        if inner.gone.iter().any(|gone| gone.uid == seen.uid) {
            return;
        }
        if let Some(sink) = sink {
            inner.sinks.insert(seen.name.clone(), sink);
        }
        let same = inner.pods.get(&seen.name).filter(|known| known.seen.uid == seen.uid);
        if same.is_some_and(|known| known.seen.version > seen.version) {
            return;
        }
        let now = Instant::now();
        let since = same.map_or(now, |known| known.since);
        let going_since = same.and_then(|known| known.going_since).or_else(|| seen.is_going.then_some(now));
        let told = same.and_then(|known| known.told.clone());
        let is_news = |trouble: &&Trouble| {
            // Its Secrets are made just after it.
            let is_early = trouble.reason == SECRET_MISSING && since.elapsed() < SECRET_LIMIT;
            told.as_ref() != Some(&trouble.reason) && !is_early
        };
        let news = seen.trouble.as_ref().filter(is_news);
        let line = news.map(|trouble| format!("the pod: {}", trouble.text()));
        let told = news.map(|trouble| trouble.reason.clone()).or(told);
        let sink = line.and_then(|line| Some((inner.sinks.get(&seen.name)?.clone(), line)));
        // Whoever plans looks again whenever it would see something else.
        let turned =
            same.is_none_or(|known| (known.seen.stage, known.seen.is_going) != (seen.stage, seen.is_going));
        inner.pods.insert(seen.name.clone(), Known { seen, since, going_since, told });
        drop(inner);
        if let Some((sink, text)) = sink {
            sink(OutputLine { stream: Stream::Runtime, text });
        }
        if turned {
            count(&self.exits);
        }
        count(&self.changes);
    }

    /// A pod went; `last` is how it was, where that is known.
    pub fn forget(&self, name: &str, uid: &str, last: Option<Seen>) {
        let mut inner = self.inner();
        let Some(known) = inner.pods.get(name).filter(|known| known.seen.uid == uid) else { return };
        let known = known.seen.clone();
        inner.pods.remove(name);
        inner.sinks.remove(name);
        if inner.gone.len() >= GONE_MAX {
            inner.gone.pop_front();
        }
        inner.gone.push_back(last.unwrap_or(known));
        drop(inner);
        count(&self.exits);
        count(&self.changes);
    }

    /// Whether what was found under a name is not this very pod any more, which then is forgotten.
    pub fn is_another(&self, found: Option<&K8sPod>, name: &str, uid: &str) -> bool {
        let other = found.is_none_or(|pod| pod.metadata.uid.as_deref() != Some(uid));
        if other {
            self.forget(name, uid, None);
        }
        other
    }

    fn set_link(&self, link: Link) {
        let mut inner = self.inner();
        let was_up = matches!(inner.link, Link::Up);
        let is_up = matches!(link, Link::Up);
        inner.link = match (link, &inner.link) {
            (Link::Down(why), Link::Never(_)) => Link::Never(Some(why)),
            (link, _) => link,
        };
        drop(inner);
        if was_up != is_up {
            // Whoever plans looks again.
            count(&self.exits);
        }
        count(&self.changes);
    }

    /// Lists the pods that a selector chooses and follows them, for ever.
    pub async fn follow(&self, api: Api<K8sPod>, selector: String) {
        let mut pause = PAUSE_FIRST;
        loop {
            let Err(fault) = self.once(&api, &selector, &mut pause).await;
            if fault.code() == Some(410) {
                // Too far behind: listed anew, and known meanwhile.
                tokio::time::sleep(PAUSE_FIRST).await;
                continue;
            }
            let why = fault.to_string();
            if self.link() != Err(why.clone()) {
                tracing::warn!(error = why, "the pods of services are not known now");
            }
            self.set_link(Link::Down(why));
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    /// Until something fails.
    async fn once(
        &self,
        api: &Api<K8sPod>,
        selector: &str,
        pause: &mut Duration,
    ) -> Result<std::convert::Infallible, Fault> {
        let mut version = self.list(api, selector).await?;
        self.set_link(Link::Up);
        *pause = PAUSE_FIRST;
        loop {
            let watched = tokio::time::timeout(WATCH_LIMIT, self.watch(api, selector, version));
            version = watched.await.map_err(|_| Fault::Late)??;
        }
    }

    /// Takes everything there is; what is not there went. The version that it was as of.
    async fn list(&self, api: &Api<K8sPod>, selector: &str) -> Result<String, Fault> {
        let before: BTreeSet<(String, String)> = self
            .inner()
            .pods
            .values()
            .map(|known| (known.seen.name.clone(), known.seen.uid.clone()))
            .collect();
        let mut parameters = ListParams::default().labels(selector).limit(PAGE);
        let mut listed: BTreeSet<String> = BTreeSet::new();
        let version = loop {
            let page = ask(api.list(&parameters)).await?;
            for seen in page.items.iter().filter_map(Seen::of) {
                listed.insert(seen.uid.clone());
                self.put(seen, None);
            }
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => parameters = parameters.continue_token(&token),
                None => break page.metadata.resource_version.unwrap_or_default(),
            }
        };
        // What came while it was listed is not among `before`, and is followed by the watch.
        for (name, uid) in before.iter().filter(|(_, uid)| !listed.contains(uid)) {
            self.forget(name, uid, None);
        }
        Ok(version)
    }

    /// One watch, until the API server ends it; the version to go on from.
    async fn watch(&self, api: &Api<K8sPod>, selector: &str, since: String) -> Result<String, Fault> {
        let parameters = WatchParams::default().labels(selector).timeout(WATCH_SECONDS);
        let mut events = std::pin::pin!(ask(api.watch(&parameters, &since)).await?);
        let mut version = since;
        while let Some(event) = events.next().await {
            match event? {
                WatchEvent::Added(pod) | WatchEvent::Modified(pod) => {
                    version = pod.metadata.resource_version.clone().unwrap_or(version);
                    if let Some(seen) = Seen::of(&pod) {
                        self.put(seen, None);
                    }
                }
                WatchEvent::Deleted(pod) => {
                    version = pod.metadata.resource_version.clone().unwrap_or(version);
                    if let Some(seen) = Seen::of(&pod) {
                        self.put(seen.clone(), None);
                        self.forget(&seen.name.clone(), &seen.uid.clone(), Some(seen));
                    }
                }
                WatchEvent::Bookmark(mark) => version = mark.metadata.resource_version,
                WatchEvent::Error(status) => return Err(Fault::Kube(kube::Error::Api(status))),
            }
        }
        Ok(version)
    }

    /// Waits until `holds` says so of a pod, at most so long. `None` is a pod that is not there, or another one.
    pub async fn until(
        &self,
        name: &str,
        uid: &str,
        limit: Duration,
        holds: impl Fn(Option<&Seen>) -> bool,
    ) -> bool {
        let mut changes = self.changes();
        let wait = async {
            loop {
                changes.borrow_and_update();
                let seen = self.get(name).filter(|seen| seen.uid == uid);
                if holds(seen.as_ref()) {
                    return;
                }
                if changes.changed().await.is_err() {
                    return std::future::pending().await;
                }
            }
        };
        tokio::time::timeout(limit, wait).await.is_ok()
    }
}

/// Whether it began to run, or never will.
pub(super) fn is_settled(seen: Option<&Seen>) -> bool {
    seen.is_none_or(|seen| matches!(seen.stage, Stage::Running | Stage::Ended { .. } | Stage::Hopeless))
}

#[cfg(test)]
#[path = "view_tests.rs"]
mod tests;
