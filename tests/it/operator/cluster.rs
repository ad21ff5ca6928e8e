//! A real API server of Kubernetes with its etcd, as `tests/kubernetes/build-apiserver` makes them. It has no nodes: nothing
//! runs in it, but definitions, objects, rights, status, finalizers and watches are the real ones.

use crate::support::server::Server;
use crate::support::until;
use serde_json::Value;
use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

/// The account of a server that runs services as pods, as `deploy/kubernetes` makes it.
const SERVER: &str = "system:serviceaccount:meshagent:meshagent";
/// What makes the request of this user certain: the operator has its own rights only.
const OPERATOR: &str = "system:serviceaccount:meshagent:meshagent-operator";

/// Where the programs are; `None`, said aloud, where they were not built. Under `CI=true` with
/// `MESHAGENT_TEST_KUBERNETES=required` that fails.
pub fn programs() -> Option<PathBuf> {
    let folder = super::documents::root().join("target/kubernetes/bin");
    let there = ["kube-apiserver", "etcd"].iter().all(|name| folder.join(name).is_file()) && has("openssl");
    if there && has("kubectl") || there && folder.join("kubectl").is_file() {
        return Some(folder);
    }
    let text = "SKIPPED: the operator, and pods, were not held against a real Kubernetes API server; \
                tests/kubernetes/build-apiserver builds one into target/kubernetes (minutes, Debian only)";
    #[allow(clippy::disallowed_methods, reason = "a setting of the tests, not of the program")]
    let required = std::env::var("MESHAGENT_TEST_KUBERNETES").is_ok_and(|value| value == "required");
    assert!(!required, "{text}");
    eprintln!("\n{text}\n");
    None
}

fn has(program: &str) -> bool {
    let found = Command::new("sh").args(["-c", &format!("command -v {program}")]).output();
    found.is_ok_and(|output| output.status.success())
}

/// A child that goes with its owner.
#[derive(Debug)]
struct Program {
    child: Child,
    log: PathBuf,
}

impl Program {
    fn start(mut command: Command, log: &Path) -> Self {
        let out = File::options().create(true).append(true).open(log).unwrap();
        let child = command
            .stdin(Stdio::null())
            .stdout(out.try_clone().unwrap())
            .stderr(out)
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        Self { child, log: log.to_owned() }
    }

    fn kill(&mut self) {
        let _already_gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            let said = fs::read_to_string(&self.log).unwrap_or_default();
            let tail: Vec<&str> = said.lines().rev().take(40).collect();
            let tail: Vec<&str> = tail.into_iter().rev().collect();
            eprintln!("--- {} said last\n{}", self.log.display(), tail.join("\n"));
        }
    }
}

/// The API server.
#[derive(Debug)]
pub struct Cluster {
    programs: PathBuf,
    home: TempDir,
    address: (u16, u16, u16),
    server: Program,
    _etcd: Program,
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

impl Cluster {
    pub fn start(programs: PathBuf) -> Self {
        let home = tempfile::tempdir().unwrap();
        let address = (free_port(), free_port(), free_port());
        let key = home.path().join("accounts.pem");
        let made = Command::new("openssl").args(["genrsa", "-out"]).arg(&key).arg("2048").output().unwrap();
        assert!(made.status.success(), "{made:?}");
        fs::write(
            home.path().join("tokens.csv"),
            format!("admin-token,admin,admin,system:masters\noperator-token,{OPERATOR},operator,system:serviceaccounts\n\
                 server-token,{SERVER},server,system:serviceaccounts\n"),
        )
        .unwrap();
        fs::write(
            home.path().join("audit.yaml"),
            format!(
                "apiVersion: audit.k8s.io/v1\nkind: Policy\nomitStages: [RequestReceived]\nrules:\n\
                 - {{level: Metadata, users: [\"{OPERATOR}\"]}}\n- {{level: None}}\n"
            ),
        )
        .unwrap();
        let mut etcd = Command::new(programs.join("etcd"));
        let (client, peer) =
            (format!("http://127.0.0.1:{}", address.0), format!("http://127.0.0.1:{}", address.1));
        etcd.arg("--data-dir").arg(home.path().join("etcd")).args([
            format!("--listen-client-urls={client}"),
            format!("--advertise-client-urls={client}"),
            format!("--listen-peer-urls={peer}"),
            format!("--initial-advertise-peer-urls={peer}"),
            format!("--initial-cluster=default={peer}"),
        ]);
        let etcd = Program::start(etcd, &home.path().join("etcd.log"));
        let server = serve(&programs, home.path(), address);
        let cluster = Self { programs, home, address, server, _etcd: etcd };
        for (name, token) in
            [("admin", "admin-token"), ("operator", "operator-token"), ("server", "server-token")]
        {
            fs::write(cluster.kubeconfig(name), cluster.configuration(token)).unwrap();
        }
        cluster.wait_until_ready();
        cluster
    }

    fn wait_until_ready(&self) {
        until("the API server", || self.try_kubectl(&["get", "--raw", "/readyz"]).is_ok());
    }

    /// Ends the API server as a power cut would, and starts it again where it was.
    pub fn restart(&mut self) {
        self.server.kill();
        self.server = serve(&self.programs, self.home.path(), self.address);
        self.wait_until_ready();
    }

    /// Ends the API server, and begins it again when told to.
    pub fn while_down(&mut self, meanwhile: impl FnOnce()) {
        self.server.kill();
        meanwhile();
        self.restart();
    }

    /// The file that says how to reach it, as `admin`, `operator` or `server`.
    pub fn kubeconfig(&self, who: &str) -> PathBuf {
        self.home.path().join(format!("{who}.kubeconfig"))
    }

    fn configuration(&self, token: &str) -> String {
        format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: test\n\
             clusters: [{{name: test, cluster: {{server: \"https://127.0.0.1:{}\", insecure-skip-tls-verify: true}}}}]\n\
             users: [{{name: test, user: {{token: {token}}}}}]\n\
             contexts: [{{name: test, context: {{cluster: test, user: test}}}}]\n",
            self.address.2
        )
    }

    /// `kubectl` as the administrator; what it printed.
    #[track_caller]
    pub fn kubectl(&self, arguments: &[&str]) -> String {
        self.try_kubectl(arguments).unwrap_or_else(|said| panic!("kubectl {arguments:?}: {said}"))
    }

    pub fn try_kubectl(&self, arguments: &[&str]) -> Result<String, String> {
        let own = self.programs.join("kubectl");
        let program = if own.is_file() { own } else { PathBuf::from("kubectl") };
        let ran = Command::new(program)
            .args(arguments)
            .env("KUBECONFIG", self.kubeconfig("admin"))
            .env("HOME", self.home.path())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if ran.status.success() { Ok(said(&ran.stdout)) } else { Err(said(&ran.stderr) + &said(&ran.stdout)) }
    }

    /// An object, in the namespace `shop`.
    pub fn object(&self, what: &str) -> Option<Value> {
        let text = self.try_kubectl(&["get", what, "-n", "shop", "-o", "json"]).ok()?;
        serde_json::from_str(&text).ok()
    }

    /// Reason of the condition `Ready` of an object whose newest generation was looked at.
    pub fn reason(&self, what: &str) -> Option<String> {
        let object = self.object(what)?;
        let seen = object["status"]["observedGeneration"] == object["metadata"]["generation"];
        let all = object["status"]["conditions"].as_array()?;
        let ready = all.iter().find(|condition| condition["type"] == "Ready")?;
        seen.then(|| ready["reason"].as_str().unwrap_or_default().to_owned())
    }

    /// What the operator asked of the cluster: verb, group, resource.
    pub fn asked_by_the_operator(&self) -> Vec<(String, String, String, u64)> {
        let text = fs::read_to_string(self.home.path().join("audit.log")).unwrap_or_default();
        let one = |line: &str| {
            let event: Value = serde_json::from_str(line).ok()?;
            let word =
                |pointer: &str| event.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
            let code = event.pointer("/responseStatus/code").and_then(Value::as_u64).unwrap_or_default();
            Some((word("/verb"), word("/objectRef/apiGroup"), word("/objectRef/resource"), code))
        };
        text.lines().filter_map(one).collect()
    }
}

fn serve(programs: &Path, home: &Path, address: (u16, u16, u16)) -> Program {
    let mut server = Command::new(programs.join("kube-apiserver"));
    let file = |name: &str| home.join(name).display().to_string();
    server.args([
        format!("--etcd-servers=http://127.0.0.1:{}", address.0),
        format!("--secure-port={}", address.2),
        "--bind-address=127.0.0.1".to_owned(),
        format!("--cert-dir={}", file("certificates")),
        "--service-cluster-ip-range=10.0.0.0/24".to_owned(),
        "--endpoint-reconciler-type=none".to_owned(),
        "--disable-admission-plugins=ServiceAccount".to_owned(),
        "--authorization-mode=RBAC".to_owned(),
        format!("--token-auth-file={}", file("tokens.csv")),
        "--service-account-issuer=https://test".to_owned(),
        format!("--service-account-key-file={}", file("accounts.pem")),
        format!("--service-account-signing-key-file={}", file("accounts.pem")),
        format!("--audit-policy-file={}", file("audit.yaml")),
        format!("--audit-log-path={}", file("audit.log")),
    ]);
    Program::start(server, &home.join("apiserver.log"))
}

/// A `meshagent operator`.
#[derive(Debug)]
pub struct Operator {
    program: Program,
    log: PathBuf,
}

impl Operator {
    /// As the rights of `deploy/kubernetes/operator.yaml` allow it.
    pub fn start(cluster: &Cluster, server: &Server, name: &str) -> Self {
        let log = cluster.home.path().join(format!("{name}.log"));
        let key = cluster.home.path().join("api-key");
        fs::write(&key, &server.api_key).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_meshagent"));
        command
            .args([
                "operator",
                "--cluster",
                "test",
                "--lease",
                "meshagent/meshagent-operator",
                "--identity",
                name,
            ])
            .args(["--api-url", &server.url, "--api-key-file"])
            .arg(key)
            .arg("--kubeconfig")
            .arg(cluster.kubeconfig("operator"))
            .env("HOME", cluster.home.path())
            .env("MESHAGENT_LOG", "warn,meshagent=debug")
            .env_remove("MESHAGENT_API_KEY");
        Self { program: Program::start(command, &log), log }
    }

    pub fn said(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    pub fn kill(&mut self) {
        self.program.kill();
    }
}
