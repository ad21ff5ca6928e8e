//! Pods of a Kubernetes cluster, one for each instance. They outlive a killed server: what it left is found by its labels,
//! and whoever plans decides what becomes of it.
//!
//! The name of a pod follows from its instance, so that the API server itself refuses a second one. `pod`, `mounts`, `state`
//! and `names` are pure; `view` follows what there is, `logs` what it says. It knows nothing of custom resources.

mod connect;
mod fault;
mod logs;
mod mounts;
mod names;
mod pod;
mod remove;
mod state;
mod template;
mod view;

pub use connect::client;
pub use k8s_openapi::api::core::v1::Pod as K8sPod;
pub use mounts::Claim;
pub use template::PodTemplate;

use super::{
    InstanceKey, LogSink, Observed, OutputLine, RunState, Runtime, RuntimeError, StartRequest, Stream,
};
use crate::clock::IdSource;
use crate::containers::Limits;
use async_trait::async_trait;
use fault::{Fault, ask};
use k8s_openapi::api::core::v1::Secret as K8sSecret;
use kube::api::PostParams;
use kube::{Api, Client};
use logs::Follower;
use pod::Made;
use state::{Seen, Stage};
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OnceCell, watch};
use tokio_util::sync::{CancellationToken, DropGuard};
use view::{View, is_settled};

/// Name of the one container of a pod.
const CONTAINER_NAME: &str = "main";
/// How long a start waits for the first list of pods.
const LISTED_LIMIT: Duration = Duration::from_secs(10);
/// How long a start waits for the container to run. What becomes of one that takes longer is observed.
const START_LIMIT: Duration = Duration::from_secs(10);
/// How often a start whose name is taken makes room for itself.
const CREATE_TRIES_MAX: u32 = 3;
/// Minor version of Kubernetes 1 from which on images can be mounted.
const IMAGE_VOLUMES_SINCE: u32 = 33;
/// Name as which changes are written.
const FIELD_MANAGER: &str = "meshagent-server";

/// What the operator chose about pods.
#[derive(Debug, Clone)]
pub struct PodSettings {
    /// Where pods run, and the Secrets that go with them.
    pub namespace: String,
    /// What `meshagent/cli` stands for.
    pub image: String,
    /// Where the files of rooms are; `None`: they are not mounted.
    pub claim: Option<Claim>,
    pub template: PodTemplate,
    /// What one pod may use, where the template does not say.
    pub limits: Limits,
    /// Marks the pods of the servers on one database: the value of a label.
    pub installation: String,
    /// Marks those of this server: the value of a label.
    pub server: String,
    /// Name of this server, for people.
    pub server_name: String,
}

impl PodSettings {
    /// Sets who we are: `secret` is what the servers on one database share, and is not told.
    pub fn mark(&mut self, secret: &[u8], server_name: &str) {
        use aws_lc_rs::hmac;
        const PURPOSE: &[u8] = b"installation of pods";
        const BYTES: usize = 8;
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), PURPOSE);
        self.installation = hex::encode(&tag.as_ref()[..BYTES]);
        self.server = names::server_label(&self.installation, server_name);
        server_name.clone_into(&mut self.server_name);
    }
}

/// Runs instances as pods.
pub struct KubernetesRuntime {
    client: Client,
    pods: Api<K8sPod>,
    secrets: Api<K8sSecret>,
    settings: PodSettings,
    view: Arc<View>,
    ids: Arc<dyn IdSource>,
    /// Minor version of the API server, once it was asked.
    version: OnceCell<u32>,
    stop: CancellationToken,
    _stops: DropGuard,
}

impl fmt::Debug for KubernetesRuntime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let namespace = &self.settings.namespace;
        f.debug_struct("KubernetesRuntime").field("namespace", namespace).finish_non_exhaustive()
    }
}

impl KubernetesRuntime {
    /// Begins to follow the pods of this server. Call within the async runtime.
    #[must_use]
    pub fn start_with(client: Client, settings: PodSettings, ids: Arc<dyn IdSource>) -> Self {
        let namespace = settings.namespace.as_str();
        let pods: Api<K8sPod> = Api::namespaced(client.clone(), namespace);
        let secrets = Api::namespaced(client.clone(), namespace);
        let view = Arc::new(View::new());
        let stop = CancellationToken::new();
        let selector = format!(
            "{}={},{}={}",
            names::INSTALLATION,
            settings.installation,
            names::SERVER,
            settings.server
        );
        let (own, api) = (Arc::clone(&view), pods.clone());
        spawn_until(&stop, async move { own.follow(api, selector).await });
        let stops = stop.clone().drop_guard();
        Self { client, pods, secrets, settings, view, ids, version: OnceCell::new(), stop, _stops: stops }
    }

    /// Waits until the pods are known, for a start at the very beginning.
    async fn listed(&self, key: &InstanceKey) -> Result<(), RuntimeError> {
        let mut changes = self.view.changes();
        let listed = async { while !self.view.was_listed() && changes.changed().await.is_ok() {} };
        let _late = tokio::time::timeout(LISTED_LIMIT, listed).await;
        self.view.link().map_err(|detail| RuntimeError::Os { action: "start", key: key.clone(), detail })
    }

    /// Whether the cluster can mount images. One that does not say its version is taken for an old one.
    async fn has_image_volumes(&self) -> bool {
        let asked = self.version.get_or_try_init(|| async {
            let info = ask(self.client.apiserver_version()).await?;
            let digits: String = info.minor.chars().take_while(char::is_ascii_digit).collect();
            Ok::<u32, Fault>(digits.parse().unwrap_or_default())
        });
        asked.await.is_ok_and(|minor| *minor >= IMAGE_VOLUMES_SINCE)
    }

    async fn prepare(&self, request: &StartRequest) -> Result<Made, RuntimeError> {
        let suffix = &self.ids.fresh().simple().to_string()[..8];
        let wants_images = request.container.mounts.images.as_ref().is_some_and(|all| !all.is_empty());
        let has_images = wants_images && self.has_image_volumes().await;
        let secret = format!("{}-{suffix}", names::pod_name(&request.key));
        let mounted = mounts::prepare(request, &self.settings, &secret, has_images)?;
        for text in &mounted.notes {
            (request.log_sink)(OutputLine { stream: Stream::Runtime, text: text.clone() });
        }
        if let Some(folder) = mounted.folder.clone() {
            let what = format!("cannot make {}: ", folder.display());
            let made = tokio::fs::create_dir_all(folder).await;
            made.map_err(|error| RuntimeError::NotMounted { what: format!("{what}{error}") })?;
        }
        pod::make(request, mounted, &self.settings, suffix)
    }

    /// Makes the pod, and room for it where what has its name is over, or is what another server left.
    async fn create(&self, key: &InstanceKey, pod: &K8sPod) -> Result<Seen, RuntimeError> {
        let refused = |detail: String| RuntimeError::Os { action: "start", key: key.clone(), detail };
        let name = names::pod_name(key);
        let parameters = PostParams { dry_run: false, field_manager: Some(FIELD_MANAGER.to_owned()) };
        for _ in 0..CREATE_TRIES_MAX {
            let fault = match ask(self.pods.create(&parameters, pod)).await {
                Ok(made) => {
                    return Seen::of(&made).ok_or_else(|| refused("the cluster changed its labels".into()));
                }
                Err(fault) => fault,
            };
            match fault.code() {
                Some(409) => {}
                // It is the same every time.
                Some(400 | 422) => {
                    return Err(RuntimeError::Malformed { key: key.clone(), detail: fault.to_string() });
                }
                _ => return Err(refused(fault.to_string())),
            }
            let found = ask(self.pods.get_opt(&name)).await.map_err(|fault| refused(fault.to_string()))?;
            let Some(found) = found else { continue };
            let seen = Seen::of(&found).filter(|_| {
                names::label(&found, names::INSTALLATION) == Some(self.settings.installation.as_str())
            });
            let Some(seen) = seen else {
                return Err(refused(format!(
                    "a pod `{name}` is there that this server did not make; delete it"
                )));
            };
            let is_own = names::label(&found, names::SERVER) == Some(self.settings.server.as_str());
            if is_own {
                self.view.put(seen.clone(), None);
                if !seen.is_over() && !seen.is_going {
                    return Err(RuntimeError::AlreadyRunning { key: key.clone(), handle: Some(seen.name) });
                }
            }
            // The room is ours now: what another server started there is left over.
            self.remove(&seen, remove::LEFT_OVER_GRACE).await.map_err(|fault| refused(fault.to_string()))?;
        }
        Err(refused(format!("the name `{name}` is taken again and again; look at the pods of the namespace")))
    }

    /// Makes the Secrets of a pod. They go when it goes, also when nobody deletes them.
    async fn keep(&self, secrets: Vec<K8sSecret>, seen: &Seen) -> Result<(), String> {
        let request = kube::api::Request::new(self.secrets.resource_url());
        for mut secret in secrets {
            pod::own(&mut secret, &seen.name, &seen.uid);
            let body = serde_json::to_vec(&secret).map_err(|error| error.to_string())?;
            let parameters = PostParams { dry_run: false, field_manager: Some(FIELD_MANAGER.to_owned()) };
            let request = request.create(&parameters, body).map_err(|error| error.to_string())?;
            // The answer has the values in it, and is not looked at.
            ask(self.client.request_text(request)).await.map_err(|fault| fault.to_string())?;
        }
        Ok(())
    }

    /// Makes room for a start: what has ended goes. What never came to run goes too, and is why this start fails.
    async fn make_room(&self, key: &InstanceKey) -> Result<(), RuntimeError> {
        let refused = |detail: String| RuntimeError::Os { action: "start", key: key.clone(), detail };
        let name = names::pod_name(key);
        let Some((seen, run)) = self.view.get(&name).zip(self.view.run(&name)) else { return Ok(()) };
        let ended = matches!(run, Some(RunState::Exited { .. }));
        if !ended && !seen.is_going {
            return Err(RuntimeError::AlreadyRunning { key: key.clone(), handle: Some(seen.name) });
        }
        self.remove(&seen, remove::LEFT_OVER_GRACE).await.map_err(|fault| refused(fault.to_string()))?;
        let never_ran = ended && !matches!(seen.stage, Stage::Ended { .. } | Stage::Running);
        if never_ran { Err(refused(seen.why())) } else { Ok(()) }
    }

    /// Waits a little until it runs, or says why it will not. What is still being prepared is unknown.
    async fn settle(&self, seen: &Seen) -> Result<Observed, String> {
        let _late = self.view.until(&seen.name, &seen.uid, START_LIMIT, is_settled).await;
        match self.view.get(&seen.name).filter(|now| now.uid == seen.uid) {
            Some(now) if now.stage == Stage::Hopeless => Err(now.why()),
            Some(now) => Ok(self.view.observed_one(&now.name)),
            None => Ok(Observed::Unknown),
        }
    }

    fn follow(&self, seen: &Seen, sink: LogSink) {
        let follower = Follower {
            api: self.pods.clone(),
            view: Arc::clone(&self.view),
            name: seen.name.clone(),
            uid: seen.uid.clone(),
            sink,
        };
        spawn_until(&self.stop, follower.run());
    }
}

/// Runs something until the runtime is dropped.
fn spawn_until(stop: &CancellationToken, work: impl Future<Output = ()> + Send + 'static) {
    let stop = stop.clone();
    tokio::spawn(async move { stop.run_until_cancelled(work).await });
}

#[async_trait]
impl Runtime for KubernetesRuntime {
    fn name(&self) -> &'static str {
        "kubernetes"
    }

    fn is_apart(&self, _image: &str) -> bool {
        true
    }

    fn describe(&self) -> String {
        let claim = self.settings.claim.as_ref().map_or("none", |claim| claim.name.as_str());
        format!("kubernetes: pods in namespace {}, files of rooms on claim {claim}", self.settings.namespace)
    }

    async fn reach(&self, key: &InstanceKey, port: u16) -> Option<SocketAddr> {
        let seen = self.view.get(&names::pod_name(key))?;
        let runs = seen.stage == Stage::Running && !seen.is_going;
        seen.ip.filter(|_| runs).map(|ip| SocketAddr::new(ip, port))
    }

    async fn start(&self, request: StartRequest) -> Result<Observed, RuntimeError> {
        let key = request.key.clone();
        let refused = |detail: String| RuntimeError::Os { action: "start", key: key.clone(), detail };
        self.listed(&key).await?;
        self.make_room(&key).await?;
        let Made { pod, secrets } = self.prepare(&request).await?;
        let seen = self.create(&key, &pod).await?;
        self.view.put(seen.clone(), Some(Arc::clone(&request.log_sink)));
        let settled = match self.keep(secrets, &seen).await {
            Ok(()) => {
                self.follow(&seen, request.log_sink);
                self.settle(&seen).await
            }
            Err(why) => Err(format!("its Secret cannot be made: {why}")),
        };
        match settled {
            Ok(observed) => Ok(observed),
            Err(why) => {
                if let Err(fault) = self.remove(&seen, remove::LEFT_OVER_GRACE).await {
                    tracing::warn!(pod = seen.name, error = %fault, "a pod that did not start remains");
                }
                Err(refused(why))
            }
        }
    }

    async fn stop(&self, key: &InstanceKey, grace: Duration) -> Result<Observed, RuntimeError> {
        let failed = |detail: String| RuntimeError::Os { action: "stop", key: key.clone(), detail };
        let name = names::pod_name(key);
        let known = self.view.get(&name);
        let Some(seen) = known else {
            return self.view.link().map(|()| Observed::Absent).map_err(failed);
        };
        let ran = !seen.is_over();
        let last = self.remove(&seen, grace).await.map_err(|fault| failed(fault.to_string()))?;
        let state = match last.stage {
            Stage::Ended { code, signal } => remove::by_signal(RunState::Exited { code, signal }, ran),
            _ => RunState::Exited { code: None, signal: None },
        };
        Ok(Observed::Present { handle: Some(last.name), state, started_at: last.started_at })
    }

    async fn observe(&self) -> Result<Vec<(InstanceKey, Observed)>, RuntimeError> {
        Ok(self.view.observed())
    }

    async fn observe_one(&self, key: &InstanceKey) -> Result<Observed, RuntimeError> {
        Ok(self.view.observed_one(&names::pod_name(key)))
    }

    fn exited(&self) -> watch::Receiver<u64> {
        self.view.exits()
    }
}
