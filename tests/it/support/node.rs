//! A stand-in for a node of a Kubernetes cluster, and for its scheduler: it binds pods to itself, runs the words of their
//! container as a process of this machine, tells the API server how it goes, ends it when the pod is deleted, and serves its
//! output over TLS as a kubelet does.
//!
//! Images named `no-such…` cannot be pulled. A pod with a node selector is taken by no node.

use k8s_openapi::api::core::v1::{Node as K8sNode, Pod as K8sPod, Secret as K8sSecret};
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

const NAME: &str = "stand-in";
/// How often it looks at what there is.
const TICK: Duration = Duration::from_millis(50);
const BINARY: &str = env!("CARGO_BIN_EXE_meshagent");
/// The container of our pods.
const CONTAINER: &str = "main";

/// What a process wrote: time and text of each line, and whether that is all.
#[derive(Debug, Default)]
struct Output {
    lines: Vec<(String, String)>,
    is_whole: bool,
}

type Outputs = Arc<Mutex<HashMap<String, Arc<Mutex<Output>>>>>;

/// The node; it ends with its owner, and its processes with it.
#[derive(Debug)]
pub struct Node {
    folder: PathBuf,
    cuts: tokio::sync::watch::Sender<u64>,
    started: Arc<Mutex<Vec<String>>>,
    runtime: Option<tokio::runtime::Runtime>,
}

/// A process of a pod.
struct Running {
    pid: u32,
    ended: tokio::task::JoinHandle<ExitStatus>,
    asked: bool,
    deadline: Option<tokio::time::Instant>,
}

struct Work {
    client: Client,
    folder: PathBuf,
    outputs: Outputs,
    running: HashMap<String, Running>,
    over: HashMap<String, i32>,
    started: Arc<Mutex<Vec<String>>>,
}

impl Node {
    /// `kubeconfig` is an administrator's.
    pub fn start(kubeconfig: PathBuf, folder: &Path) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let (cuts, started) = (tokio::sync::watch::Sender::new(0), Arc::new(Mutex::new(Vec::new())));
        let outputs = Outputs::default();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let port = listener.local_addr().unwrap().port();
        runtime.spawn(serve(listener, Arc::clone(&outputs), cuts.subscribe()));
        let (own, place) = (Arc::clone(&started), folder.to_owned());
        runtime.spawn(async move {
            let (client, _) = meshagent::runtime::kubernetes::client(Some(kubeconfig), None).await.unwrap();
            register(&client, port).await;
            let (running, over) = (HashMap::new(), HashMap::new());
            Work { client, folder: place, outputs, running, over, started: own }.run().await;
        });
        Self { folder: folder.to_owned(), cuts, started, runtime: Some(runtime) }
    }

    /// Where the process of a pod runs: files that it finds are put there.
    pub fn directory(&self, pod: &str) -> PathBuf {
        self.folder.join(pod)
    }

    /// Cuts all streams of output, as a broken network does.
    pub fn cut_output(&self) {
        self.cuts.send_modify(|count| *count += 1);
    }

    /// The names of pods in the order in which their processes were started.
    pub fn started(&self) -> Vec<String> {
        self.started.lock().unwrap().clone()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn register(client: &Client, port: u16) {
    let nodes: Api<K8sNode> = Api::all(client.clone());
    let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": NAME}});
    let _there = nodes.create(&PostParams::default(), &serde_json::from_value(node).unwrap()).await;
    let status = json!({"status": {
        "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": port}},
    }});
    nodes.patch_status(NAME, &PatchParams::default(), &Patch::Merge(status)).await.unwrap();
}

impl Work {
    async fn run(mut self) {
        let pods: Api<K8sPod> = Api::all(self.client.clone());
        let mut tick = tokio::time::interval(TICK);
        loop {
            tick.tick().await;
            // The API server is also ended and started by tests.
            let Ok(listed) = pods.list(&kube::api::ListParams::default()).await else { continue };
            for pod in listed.items {
                if let Err(error) = self.tend(&pod).await {
                    eprintln!("the stand-in for a node: {error}");
                }
            }
        }
    }

    async fn tend(&mut self, pod: &K8sPod) -> Result<(), kube::Error> {
        let (name, uid) = (pod.metadata.name.clone().unwrap(), pod.metadata.uid.clone().unwrap());
        let api: Api<K8sPod> =
            Api::namespaced(self.client.clone(), pod.metadata.namespace.as_deref().unwrap());
        let spec = pod.spec.as_ref().unwrap();
        if spec.node_name.is_none() {
            return self.bind(&api, &name, spec.node_selector.is_some()).await;
        }
        if let Some(running) = self.running.get_mut(&uid) {
            if pod.metadata.deletion_timestamp.is_some() {
                ask_to_end(running, pod.metadata.deletion_grace_period_seconds.unwrap_or(0));
            }
            if !running.ended.is_finished() {
                return Ok(());
            }
            let running = self.running.remove(&uid).unwrap();
            let code = code_of(running.ended.await.unwrap());
            self.over.insert(uid.clone(), code);
            return tell(&api, &name, &ended(code)).await;
        }
        if pod.metadata.deletion_timestamp.is_some() {
            api.delete(&name, &DeleteParams::default().grace_period(0)).await?;
            return Ok(());
        }
        if self.over.contains_key(&uid) {
            return Ok(());
        }
        let container = &spec.containers[0];
        if container.image.as_deref().is_some_and(|image| image.contains("no-such")) {
            let waiting =
                json!({"reason": "ImagePullBackOff", "message": "Back-off pulling image: not found"});
            return tell(&api, &name, &status("Pending", json!({"waiting": waiting}))).await;
        }
        let Some(env) = self.environment(pod).await? else {
            let waiting = json!({"reason": "CreateContainerConfigError", "message": "secret not found"});
            return tell(&api, &name, &status("Pending", json!({"waiting": waiting}))).await;
        };
        let running = self.spawn(&name, &uid, &words(pod), env);
        self.running.insert(uid, running);
        self.started.lock().unwrap().push(name.clone());
        tell(&api, &name, &status("Running", json!({"running": {"startedAt": now()}}))).await
    }

    async fn bind(&self, api: &Api<K8sPod>, name: &str, has_selector: bool) -> Result<(), kube::Error> {
        if has_selector {
            let condition = json!({"type": "PodScheduled", "status": "False", "reason": "Unschedulable",
                "message": "0/1 nodes are available"});
            return tell(api, name, &json!({"status": {"conditions": [condition]}})).await;
        }
        let binding = json!({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": name},
            "target": {"apiVersion": "v1", "kind": "Node", "name": NAME}});
        let body = serde_json::to_vec(&binding).unwrap();
        let _bound: Value = api
            .create_subresource(
                "binding",
                name,
                &PostParams::default(),
                &serde_json::from_slice::<Value>(&body).unwrap(),
            )
            .await?;
        Ok(())
    }

    /// The variables with the values of Secrets; `None` while a Secret is not there.
    async fn environment(&self, pod: &K8sPod) -> Result<Option<Vec<(String, String)>>, kube::Error> {
        let secrets: Api<K8sSecret> =
            Api::namespaced(self.client.clone(), pod.metadata.namespace.as_deref().unwrap());
        let mut all: Vec<(String, String)> = Vec::new();
        for variable in pod.spec.as_ref().unwrap().containers[0].env.iter().flatten() {
            let from = variable.value_from.as_ref().and_then(|from| from.secret_key_ref.as_ref());
            let value = match from {
                Some(from) => {
                    let Some(secret) = secrets.get_opt(&from.name).await? else { return Ok(None) };
                    String::from_utf8(secret.data.unwrap()[&from.key].0.clone()).unwrap()
                }
                None => expanded(variable.value.as_deref().unwrap_or_default(), &all),
            };
            all.push((variable.name.clone(), value));
        }
        Ok(Some(all))
    }

    fn spawn(&mut self, name: &str, uid: &str, words: &[String], env: Vec<(String, String)>) -> Running {
        let directory = self.folder.join(name);
        let _before = std::fs::remove_dir_all(&directory);
        std::fs::create_dir_all(&directory).unwrap();
        let words: Vec<String> = words.iter().map(|word| expanded(word, &env)).collect();
        let mut command = Command::new(&words[0]);
        command
            .args(&words[1..])
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .envs(env)
            .current_dir(&directory)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut command = tokio::process::Command::from(command);
        let output = Arc::new(Mutex::new(Output::default()));
        self.outputs.lock().unwrap().insert(name.to_owned(), Arc::clone(&output));
        let mut child =
            command.kill_on_drop(true).spawn().unwrap_or_else(|error| panic!("{uid} {words:?}: {error}"));
        let pid = child.id().unwrap();
        let streams =
            [read(child.stdout.take().unwrap(), &output), read(child.stderr.take().unwrap(), &output)];
        let ended = tokio::spawn(async move {
            let status = child.wait().await.unwrap();
            for stream in streams {
                stream.await.unwrap();
            }
            output.lock().unwrap().is_whole = true;
            status
        });
        Running { pid, ended, asked: false, deadline: None }
    }
}

fn read(
    stream: impl tokio::io::AsyncRead + Unpin + Send + 'static,
    output: &Arc<Mutex<Output>>,
) -> tokio::task::JoinHandle<()> {
    let output = Arc::clone(output);
    tokio::spawn(async move {
        let mut lines = BufReader::new(stream).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            output.lock().unwrap().lines.push((now(), line));
        }
    })
}

/// `$(NAME)` as Kubernetes replaces it; `$$` is a dollar.
fn expanded(text: &str, env: &[(String, String)]) -> String {
    let (mut out, mut rest) = (String::new(), text);
    while let Some((before, after)) = rest.split_once('$') {
        out.push_str(before);
        if let Some(after) = after.strip_prefix('$') {
            out.push('$');
            rest = after;
        } else if let Some((name, after)) = after.strip_prefix('(').and_then(|inner| inner.split_once(')')) {
            out.push_str(env.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value));
            rest = after;
        } else {
            out.push('$');
            rest = after;
        }
    }
    out.push_str(rest);
    out
}

/// What the container runs. Our own image starts with this very binary, all others with nothing of their own.
fn words(pod: &K8sPod) -> Vec<String> {
    let container = &pod.spec.as_ref().unwrap().containers[0];
    let own = container.image.as_deref().is_some_and(|image| image.contains("meshagent"));
    let mut words = container.command.clone().unwrap_or_default();
    if words.is_empty() && own {
        words.push(BINARY.to_owned());
    }
    words.extend(container.args.clone().unwrap_or_default());
    words
}

fn ask_to_end(running: &mut Running, grace_seconds: i64) {
    let signal = |name: &str| {
        let _gone = Command::new("kill").args([name, &running.pid.to_string()]).status();
    };
    if !running.asked {
        running.asked = true;
        running.deadline =
            Some(tokio::time::Instant::now() + Duration::from_secs(u64::try_from(grace_seconds).unwrap()));
        signal("-TERM");
    } else if running.deadline.is_some_and(|deadline| tokio::time::Instant::now() >= deadline) {
        signal("-KILL");
    }
}

fn code_of(status: ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt as _;
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
}

fn now() -> String {
    chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Nanos, true)
}

fn status(phase: &str, state: Value) -> Value {
    let container = json!({"name": CONTAINER, "image": "x", "imageID": "x", "ready": phase == "Running",
        "restartCount": 0, "state": state});
    json!({"status": {"phase": phase, "podIP": "127.0.0.1", "startTime": now(), "containerStatuses": [container]}})
}

fn ended(code: i32) -> Value {
    let reason = if code == 0 { "Completed" } else { "Error" };
    let state = json!({"terminated": {"exitCode": code, "reason": reason, "finishedAt": now()}});
    status(if code == 0 { "Succeeded" } else { "Failed" }, state)
}

async fn tell(api: &Api<K8sPod>, name: &str, status: &Value) -> Result<(), kube::Error> {
    match api.patch_status(name, &PatchParams::default(), &Patch::Merge(status)).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        Err(error) => Err(error),
    }
}

/// Serves `/containerLogs/NAMESPACE/POD/CONTAINER`.
async fn serve(listener: TcpListener, outputs: Outputs, cuts: tokio::sync::watch::Receiver<u64>) {
    let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let provider = Arc::new(tokio_rustls::rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    while let Ok((stream, _)) = listener.accept().await {
        let (acceptor, outputs, mut cuts) = (acceptor.clone(), Arc::clone(&outputs), cuts.clone());
        cuts.borrow_and_update();
        tokio::spawn(async move {
            let Ok(mut stream) = acceptor.accept(stream).await else { return };
            tokio::select! {
                _over = give(&mut stream, &outputs) => {}
                _cut = cuts.changed() => {}
            }
        });
    }
}

async fn give(
    stream: &mut (impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin),
    outputs: &Outputs,
) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let target = head.split(' ').nth(1).unwrap_or_default();
    let url = url::Url::parse("http://node").unwrap().join(target).unwrap();
    let pod = url.path().split('/').nth(3).unwrap_or_default();
    let since = url.query_pairs().find(|(name, _)| name == "sinceTime").map(|(_, value)| value.into_owned());
    let since = since.and_then(|text| text.parse::<chrono::DateTime<chrono::Utc>>().ok());
    let output = outputs.lock().unwrap().get(pod).cloned();
    let Some(output) = output else {
        return stream
            .write_all(b"HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
            .await;
    };
    stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n").await?;
    let mut given = 0;
    let mut tick = tokio::time::interval(TICK);
    loop {
        let (lines, is_whole) = {
            let output = output.lock().unwrap();
            (output.lines[given..].to_vec(), output.is_whole)
        };
        given += lines.len();
        for (at, line) in lines {
            let wanted =
                since.is_none_or(|since| at.parse::<chrono::DateTime<chrono::Utc>>().unwrap() >= since);
            if wanted {
                stream.write_all(format!("{at} {line}\n").as_bytes()).await?;
            }
        }
        stream.flush().await?;
        if is_whole && given == output.lock().unwrap().lines.len() {
            return stream.shutdown().await;
        }
        tick.tick().await;
    }
}
