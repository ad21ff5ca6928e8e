//! A private Podman for this test process: its own storage, its own socket, started with the first test that asks,
//! ended with the process, however it ends. Its one image is made here from nothing but a static program.
//!
//! With `MESHAGENT_TEST_ENGINE=unix:///path` the engine that listens there takes its place: Docker, or another Podman.

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

/// The image that is there from the start: busybox, with `sh` and all its programs in `/bin`.
pub const IMAGE: &str = "local/test:1";

/// Where Debian's busybox-static, and others, put it.
const BUSYBOX: [&str; 3] = ["/usr/bin/busybox", "/bin/busybox", "/usr/local/bin/busybox"];
/// Programs of busybox that tests use.
const PROGRAMS: [&str; 13] =
    ["sh", "cat", "echo", "env", "id", "ls", "sleep", "stty", "touch", "nc", "httpd", "printf", "rm"];
/// A limit as low as any machine allows; the engine's own defaults are too high for some.
const CONFIGURATION: &str = "[containers]\ndefault_ulimits = [\"nofile=1024:4096\", \"nproc=4096:4096\"]\n\
                             [engine]\ncgroup_manager = \"cgroupfs\"\nevents_logger = \"file\"\n\
                             [network]\nnetwork_backend = \"netavark\"\n";

#[derive(Debug)]
pub struct Podman {
    socket: PathBuf,
    /// Its standard input stays open as long as this process lives; its end stops the service.
    _watchdog: Option<Child>,
}

/// The engine, or `None`, said aloud, where there is none; under `CI=true` that fails.
pub fn engine() -> Option<&'static Podman> {
    static ENGINE: OnceLock<Option<Podman>> = OnceLock::new();
    ENGINE.get_or_init(start).as_ref()
}

impl Podman {
    /// Value for `--container-engine`.
    pub fn address(&self) -> String {
        format!("unix://{}", self.socket.display())
    }
}

/// The engine that whoever runs the tests named, with the image built on it.
fn named() -> Option<Podman> {
    #[allow(clippy::disallowed_methods, reason = "a setting of the tests, not of the program")]
    let address = std::env::var("MESHAGENT_TEST_ENGINE").ok()?;
    let socket = PathBuf::from(address.strip_prefix("unix://").unwrap());
    let tar = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&tar, context()).unwrap();
    let built = Command::new("curl")
        .args([
            "--silent",
            "--show-error",
            "--fail",
            "--header",
            "content-type: application/x-tar",
            "--unix-socket",
        ])
        .arg(&socket)
        .arg("--data-binary")
        .arg(format!("@{}", tar.path().display()))
        .arg(format!("http://engine/build?t={IMAGE}"))
        .output()
        .unwrap();
    assert!(built.status.success(), "{address} did not build the image: {built:?}");
    Some(Podman { socket, _watchdog: None })
}

fn missing() -> Option<&'static str> {
    let runs = |program: &str| {
        Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
    };
    if !runs("podman") || !runs("iptables") {
        return Some("Podman (`apt-get install podman crun netavark uidmap iptables`)");
    }
    if busybox().is_none() {
        return Some("a static busybox (`apt-get install busybox-static`)");
    }
    (!rustix::process::geteuid().is_root()).then_some("root, for an engine of its own")
}

fn busybox() -> Option<&'static Path> {
    BUSYBOX.iter().map(Path::new).find(|path| path.exists())
}

fn start() -> Option<Podman> {
    if let Some(engine) = named() {
        return Some(engine);
    }
    if let Some(what) = missing() {
        #[allow(clippy::disallowed_methods, reason = "the variable that every CI service sets")]
        let ci = std::env::var("CI").is_ok_and(|value| value == "true");
        assert!(!ci, "containers cannot be tested without {what}; CI must test them");
        println!("SKIPPED: this test needs {what}");
        return None;
    }
    let dir = tempfile::Builder::new().prefix("meshagent-podman-").tempdir().unwrap().keep();
    std::fs::write(dir.join("containers.conf"), CONFIGURATION).unwrap();
    write_context(&dir);
    // In a mount namespace of its own: a version 2 cgroup tree beside version 1 is more than crun takes. It goes on
    // until its input ends, which is when this process does, and leaves nothing mounted and nothing running.
    let script = r#"
        cd "$1" || exit 1
        umount /sys/fs/cgroup/unified 2>/dev/null
        export CONTAINERS_CONF="$1/containers.conf"
        podman="podman --root $1/root --runroot $1/runroot"
        $podman system service --time=0 "unix://$1/podman.sock" >service.log 2>&1 &
        service=$!
        $podman build --quiet -t "$2" context >build.log 2>&1 && echo ready && cat >/dev/null
        $podman rm --all --force --time 0 >/dev/null 2>&1
        kill $service
        $podman system reset --force >/dev/null 2>&1
        cd / && rm -rf "$1"
    "#;
    let mut watchdog = Command::new("unshare")
        .args(["--mount", "sh", "-c", script, "sh"])
        .arg(&dir)
        .arg(IMAGE)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .process_group(0)
        .spawn()
        .unwrap();
    let mut said = String::new();
    BufReader::new(watchdog.stdout.take().unwrap()).read_line(&mut said).unwrap();
    let log = || std::fs::read_to_string(dir.join("build.log")).unwrap_or_default();
    assert_eq!(said, "ready\n", "Podman did not start in {}: {}", dir.display(), log());
    Some(Podman { socket: dir.join("podman.sock"), _watchdog: Some(watchdog) })
}

/// The build context of the image.
fn write_context(dir: &Path) {
    let context = dir.join("context");
    std::fs::create_dir(&context).unwrap();
    std::fs::copy(busybox().unwrap(), context.join("busybox")).unwrap();
    std::fs::write(context.join("Dockerfile"), dockerfile()).unwrap();
}

/// The text of a Dockerfile that makes an image of the static program alone.
pub fn dockerfile() -> String {
    let copies: String = PROGRAMS.iter().map(|name| format!("COPY busybox /bin/{name}\n")).collect();
    format!(
        "FROM scratch\nCOPY busybox /bin/busybox\n{copies}ENV PATH=/bin\nCMD [\"/bin/sleep\", \"1000\"]\n"
    )
}

/// A context that builds an image of the static program alone, as a tar archive.
pub fn context() -> Vec<u8> {
    archive(&dockerfile())
}

/// A context with this Dockerfile and the static program.
pub fn archive(dockerfile: &str) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (name, data) in [("Dockerfile", dockerfile.as_bytes()), ("busybox", &program())] {
        let mut header = tar::Header::new_gnu();
        header.set_size(data.len() as u64);
        header.set_mode(0o755);
        tar.append_data(&mut header, name, data).unwrap();
    }
    tar.into_inner().unwrap()
}

/// The static program, for contexts of tests.
pub fn program() -> Vec<u8> {
    std::fs::read(busybox().unwrap()).unwrap()
}
