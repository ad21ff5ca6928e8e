//! The programs, and how they are run.

use crate::cli::{Person, Ran};
use crate::support::server::Server;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;

/// Every version of `kubectl` that there is, by what it says it is.
static ALL: LazyLock<BTreeMap<String, PathBuf>> = LazyLock::new(find);

#[allow(clippy::disallowed_methods, reason = "settings of the tests, not of the program")]
fn env(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// `MESHAGENT_TEST_KUBECTL` names programs, separated by colons. Without it: `kubectl` and `kubectl.1.*` on the path and
/// beside `gcloud`, and the one that `tests/kubernetes/build-apiserver` made.
fn find() -> BTreeMap<String, PathBuf> {
    let named: Vec<PathBuf> = match env("MESHAGENT_TEST_KUBECTL") {
        Some(list) => list.split(':').map(PathBuf::from).collect(),
        None => candidates(),
    };
    let mut found = BTreeMap::new();
    for program in named {
        // A program that starts one of several others is none of them.
        if let Some(version) = version(&program).filter(|version| !version.contains("dispatcher")) {
            found.entry(version).or_insert(program);
        }
    }
    found
}

fn candidates() -> Vec<PathBuf> {
    let path = env("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    folders.push(crate::operator::root().join("target/kubernetes/bin"));
    let gcloud = folders.iter().map(|folder| folder.join("gcloud")).find(|program| program.is_file());
    folders.extend(gcloud.and_then(|program| Some(program.canonicalize().ok()?.parent()?.to_owned())));
    let is_ours = |name: &str| name == "kubectl" || name.starts_with("kubectl.1.");
    let mut all = vec![];
    for entry in folders.iter().filter_map(|folder| std::fs::read_dir(folder).ok()).flatten().flatten() {
        if entry.file_name().to_str().is_some_and(is_ours) {
            all.push(entry.path());
        }
    }
    all
}

fn version(program: &Path) -> Option<String> {
    let said = Command::new(program).args(["version", "--client", "-o", "json"]).output().ok()?;
    let said: serde_json::Value = serde_json::from_slice(&said.stdout).ok()?;
    Some(said["clientVersion"]["gitVersion"].as_str()?.to_owned())
}

/// Runs a story with every version; says aloud when there is none, which fails in CI.
pub fn each(story: impl Fn(&Kubectl)) {
    run(ALL.iter(), |kubectl| story(kubectl));
}

/// Runs a story with the oldest and the newest version.
pub fn ends(story: impl Fn(&mut Kubectl)) {
    let (oldest, newest) = (ALL.first_key_value(), ALL.last_key_value());
    run(oldest.into_iter().chain(newest.filter(|newest| Some(*newest) != oldest)), story);
}

fn run<'a>(versions: impl Iterator<Item = (&'a String, &'a PathBuf)>, story: impl Fn(&mut Kubectl)) {
    if ALL.is_empty() {
        let text = "SKIPPED: no kubectl was found; name some with MESHAGENT_TEST_KUBECTL, or let \
                    tests/kubernetes/build-apiserver make one";
        assert!(env("CI").is_none_or(|value| value != "true"), "{text}");
        eprintln!("\n{text}\n");
        return;
    }
    for (version, program) in versions {
        eprintln!("kubectl {version}");
        story(&mut Kubectl::new(program));
    }
}

/// One version with a server of its own, and the kubeconfig that the server's command line prints.
#[derive(Debug)]
pub struct Kubectl {
    pub server: Server,
    pub person: Person,
    program: PathBuf,
}

impl Kubectl {
    fn new(program: &Path) -> Self {
        let server = Server::start(&["--fake-runtime"]);
        let person = Person::of(&server);
        let config = person.run(&["kubeconfig"]).ok().stdout;
        person.file("config.yaml", &config);
        Self { server, person, program: program.to_owned() }
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command
            .env_clear()
            .env("HOME", self.person.home())
            // The difference is made by this program.
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .current_dir(self.person.home())
            .args(["--kubeconfig", "config.yaml"])
            .args(arguments)
            .stdin(Stdio::null());
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Ran {
        let done = self.command(arguments).output().unwrap();
        Ran {
            code: done.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&done.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&done.stderr).into_owned(),
        }
    }

    /// Runs with a text as `object.yaml`.
    pub fn with(&self, text: &str, arguments: &[&str]) -> Ran {
        self.person.file("object.yaml", text);
        let mut all = arguments.to_vec();
        all.extend(["-f", "object.yaml"]);
        self.run(&all)
    }

    /// Succeeded; what it printed.
    #[track_caller]
    pub fn ok(&self, arguments: &[&str]) -> String {
        self.run(arguments).ok().stdout
    }

    /// Failed, and said all of this.
    #[track_caller]
    pub fn fails(&self, arguments: &[&str], words: &[&str]) {
        fails(&self.run(arguments), words);
    }

    /// Path of objects of the project.
    pub fn path(&self, rest: &str) -> String {
        format!("/apis/meshagent.dev/v1/namespaces/{}/{rest}", self.server.project_id)
    }

    /// The version of a list now.
    pub fn version(&self, plural: &str) -> String {
        let list = self.ok(&["get", "--raw", &self.path(plural)]);
        let list: serde_json::Value = serde_json::from_str(&list).unwrap();
        list["metadata"]["resourceVersion"].as_str().unwrap().to_owned()
    }

    /// What a watch tells that goes on from a version.
    pub fn since(&self, plural: &str, query: &str, version: &str) -> String {
        let path = format!("{plural}?watch=true&timeoutSeconds=2&resourceVersion={version}&{query}");
        self.ok(&["get", "--raw", &self.path(&path)])
    }

    /// Starts a command whose output goes to a file.
    pub fn start(&self, arguments: &[&str], into: &str) -> Running {
        let path = self.person.home().join(into);
        let file = std::fs::File::create(&path).unwrap();
        let errors = file.try_clone().unwrap();
        let child = self.command(arguments).stdout(file).stderr(errors).spawn().unwrap();
        Running { child, path }
    }
}

#[track_caller]
pub fn fails(ran: &Ran, words: &[&str]) {
    assert_ne!(ran.code, 0, "{ran:#?}");
    for word in words {
        assert!(ran.stderr.contains(word), "want `{word}` in {ran:#?}");
    }
}

/// A command that runs, killed when dropped.
#[derive(Debug)]
pub struct Running {
    child: Child,
    path: PathBuf,
}

impl Running {
    pub fn said(&self) -> String {
        std::fs::read_to_string(&self.path).unwrap()
    }

    /// Waits for its end, which is to be a good one.
    pub fn ends(&mut self) {
        let ended = self.child.wait().unwrap();
        assert!(ended.success(), "{ended}: {}", self.said());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _already_gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}
