//! Wakes the work: watches the custom resources of every kind and the server, for as long as this operator leads.

use super::follow::{Follower, Touched, Trigger};
use super::health::Health;
use super::lease::Lease;
use super::mesh::Mesh;
use super::names;
use super::reconcile::{ClusterError, Shared, Work, reconcile};
use super::status;
use crate::app::plan::Resource;
use crate::clock::Clock;
use crate::crd::convert;
use futures_util::stream::{self, Stream};
use futures_util::{StreamExt, TryStreamExt};
use kube::api::ListParams;
use kube::core::DynamicObject;
use kube::runtime::controller::{self, Action};
use kube::runtime::events::{Recorder, Reporter};
use kube::runtime::reflector::{ObjectRef, Store, store::Writer};
use kube::runtime::{WatchStreamExt, applier, watcher};
use kube::{Api, ResourceExt};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Objects of a kind that are worked on at once.
const AT_ONCE_MAX: u16 = 8;
/// What the server told and nobody looked at yet, by kind.
const TRIGGERS_MAX: usize = 1024;
/// How often at most those that wait for others are woken.
const NEWS_EVERY: Duration = Duration::from_millis(500);

/// Why the operator does not work.
#[derive(Debug, thiserror::Error)]
pub enum OperatorError {
    #[error(
        "the cluster does not know {missing}; install the definitions with `meshagent operator crds | kubectl apply --server-side -f -`"
    )]
    NotInstalled { missing: String },
    #[error("cannot ask the cluster: {0}")]
    Cluster(#[source] kube::Error),
    #[error("the lease cannot be used: {0}; grant get, create and update of leases.coordination.k8s.io")]
    Lease(#[source] kube::Error),
}

/// What the operator works with.
pub struct Options {
    pub client: kube::Client,
    pub mesh: Arc<dyn Mesh>,
    /// Name of this cluster among those that one server serves.
    pub cluster: String,
    /// Empty for all.
    pub namespaces: Vec<String>,
    /// Name of this operator among those that could do the work.
    pub identity: String,
    /// Namespace and name of the lease by which one of several does the work; none where there is only one.
    pub lease: Option<(String, String)>,
    pub clock: Arc<dyn Clock>,
    pub health: Arc<Health>,
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options").field("cluster", &self.cluster).finish_non_exhaustive()
    }
}

/// Does the work, whenever this operator leads, until it is to stop.
pub async fn run(options: Options, stop: CancellationToken) -> Result<(), OperatorError> {
    let Options { client, mesh, cluster, namespaces, identity, lease, clock, health } = options;
    check_installed(&client, &namespaces).await?;
    health.set_ready(true);
    let reporter = Reporter { controller: names::FIELD_MANAGER.to_owned(), instance: Some(identity.clone()) };
    let recorder = Recorder::new(client.clone(), reporter);
    let lease = lease
        .map(|(namespace, name)| Lease::new(client.clone(), &namespace, name, identity, Arc::clone(&clock)));
    let shared = Shared { client, mesh, cluster, recorder, clock, health: Arc::clone(&health) };
    while !stop.is_cancelled() {
        if let Some(lease) = &lease
            && !lease.acquire(&stop).await?
        {
            break;
        }
        let term = stop.child_token();
        health.set_leads(true);
        tracing::info!("this operator does the work");
        let work = work(&shared, &namespaces, &term);
        match &lease {
            Some(lease) => {
                tokio::join!(work, lease.hold(&term));
                lease.release().await;
            }
            None => work.await,
        }
        health.set_leads(false);
    }
    Ok(())
}

/// Every kind must be there, or objects of it would be left alone without a word.
async fn check_installed(client: &kube::Client, namespaces: &[String]) -> Result<(), OperatorError> {
    let mut missing = vec![];
    for resource in names::kinds() {
        let kind = names::api_resource(resource.kind());
        let api: Api<DynamicObject> = match namespaces.first() {
            Some(namespace) => Api::namespaced_with(client.clone(), namespace, &kind),
            None => Api::all_with(client.clone(), &kind),
        };
        match api.list(&ListParams::default().limit(1)).await {
            Ok(_) => {}
            Err(kube::Error::Api(status)) if status.code == 404 => {
                missing.push(format!("{}.{}", kind.plural, names::GROUP));
            }
            Err(error) => return Err(OperatorError::Cluster(error)),
        }
    }
    if missing.is_empty() { Ok(()) } else { Err(OperatorError::NotInstalled { missing: missing.join(", ") }) }
}

/// All kinds in all namespaces, until the term ends. What is being worked on then is finished.
async fn work(shared: &Shared, namespaces: &[String], term: &CancellationToken) {
    let mut tasks = JoinSet::new();
    let (news, heard) = watch::channel(0_u64);
    for resource in names::kinds() {
        let places: Vec<Option<&String>> =
            if namespaces.is_empty() { vec![None] } else { namespaces.iter().map(Some).collect() };
        for place in places {
            let (triggers, waiting) = mpsc::channel(TRIGGERS_MAX);
            let follower = Follower {
                mesh: Arc::clone(&shared.mesh),
                kind: resource.kind(),
                triggers,
                news: news.clone(),
            };
            tasks.spawn(follower.run(term.clone()));
            let work = Arc::new(Work::new(shared.clone(), resource));
            let api = match place {
                Some(namespace) => Api::namespaced_with(shared.client.clone(), namespace, &work.api),
                None => Api::all_with(shared.client.clone(), &work.api),
            };
            tasks.spawn(of_kind(api, work, waiting, heard.clone(), term.clone()));
        }
    }
    while let Some(ended) = tasks.join_next().await {
        if let Err(error) = ended {
            tracing::error!(%error, "a part of the operator ended");
            term.cancel();
        }
    }
}

async fn of_kind(
    api: Api<DynamicObject>,
    work: Arc<Work>,
    triggers: mpsc::Receiver<Trigger>,
    news: watch::Receiver<u64>,
    term: CancellationToken,
) {
    let kind = work.api.clone();
    let writer = Writer::new(kind.clone());
    let store = writer.as_reader();
    let objects = watcher(api, watcher::Config::default())
        .default_backoff()
        .reflect(writer)
        .applied_objects()
        .map_ok(move |object| ObjectRef::from_obj_with(&object, kind.clone()));
    let told = told(triggers, store.clone(), Arc::clone(&work)).map(Ok);
    let woken = woken(news, store.clone(), Arc::clone(&work)).map(Ok);
    let queue = stream::select(objects, stream::select(told, woken)).take_until(term.cancelled_owned());
    let after_error = |object: Arc<DynamicObject>, _: &ClusterError, work: Arc<Work>| -> Action {
        work.after_error(&object)
    };
    let step = |object: Arc<DynamicObject>, work: Arc<Work>| Box::pin(reconcile(object, work));
    let config = controller::Config::default().concurrency(AT_ONCE_MAX);
    applier(step, after_error, work, store, Box::pin(queue), config)
        .for_each(|done| async move {
            match done {
                Ok((object, _)) => tracing::debug!(%object, "looked at"),
                Err(controller::Error::ObjectNotFound(_)) => {}
                Err(error) => tracing::warn!(%error, "the cluster is asked again"),
            }
        })
        .await;
}

/// The objects of what the server tells of.
fn told(
    triggers: mpsc::Receiver<Trigger>,
    store: Store<DynamicObject>,
    work: Arc<Work>,
) -> impl Stream<Item = ObjectRef<DynamicObject>> {
    let triggers =
        stream::unfold(triggers, |mut triggers| async move { Some((triggers.recv().await?, triggers)) });
    triggers.flat_map(move |trigger| {
        let found = match trigger {
            Trigger::All => store.state(),
            Trigger::One(touched) => objects_of(&touched, &store, &work),
        };
        let kind = work.api.clone();
        stream::iter(found.into_iter().map(move |object| ObjectRef::from_obj_with(&*object, kind.clone())))
    })
}

/// Those that hold a resource; of what is gone also those that want it.
fn objects_of(touched: &Touched, store: &Store<DynamicObject>, work: &Work) -> Vec<Arc<DynamicObject>> {
    let prefix = format!("kubernetes/{}/", work.shared.cluster);
    if !touched.is_gone && !touched.sources.iter().any(|source| source.starts_with(&prefix)) {
        return vec![];
    }
    store.state_filter(|object| {
        touched.sources.contains(&work.source(object))
            || (touched.is_gone && wants(object, touched, work.resource))
    })
}

fn wants(object: &DynamicObject, touched: &Touched, resource: &dyn Resource) -> bool {
    let spec = object.data.get("spec").cloned().unwrap_or_default();
    let Ok(document) = convert::to_document(resource, &object.name_any(), &spec) else { return false };
    convert::key_of(resource, &document) == (touched.room.clone(), touched.name.clone())
}

/// Those that wait for others, whenever something came to be.
fn woken(
    news: watch::Receiver<u64>,
    store: Store<DynamicObject>,
    work: Arc<Work>,
) -> impl Stream<Item = ObjectRef<DynamicObject>> {
    let beats =
        stream::unfold((news, tokio::time::interval(NEWS_EVERY)), |(mut news, mut pace)| async move {
            pace.tick().await;
            news.changed().await.ok()?;
            Some(((), (news, pace)))
        });
    beats.flat_map(move |()| {
        let waiting = store.state_filter(|object| {
            object.data.get("status").is_some_and(|status| status::reason(status) == "DependencyMissing")
        });
        let kind = work.api.clone();
        stream::iter(waiting.into_iter().map(move |object| ObjectRef::from_obj_with(&*object, kind.clone())))
    })
}
