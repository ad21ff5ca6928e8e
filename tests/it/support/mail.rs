//! Mail programs that others wrote: `swaks` sends, `aiosmtpd` or Exim receives, `openssl` makes keys.

use std::fs::Permissions;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Longest wait for mail to come.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Whether the mail programs are here; said aloud when not; under `CI=true` that fails.
pub fn programs() -> bool {
    let here = |program: &str| {
        let mut command = Command::new(program);
        command.arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok()
    };
    let missing: Vec<&str> =
        ["swaks", "aiosmtpd", "dkimverify", "openssl"].into_iter().filter(|program| !here(program)).collect();
    if missing.is_empty() {
        return true;
    }
    #[allow(clippy::disallowed_methods, reason = "the variable that every CI service sets")]
    let ci = std::env::var("CI").is_ok_and(|value| value == "true");
    let hint = "`apt-get install swaks libnet-ssleay-perl python3-aiosmtpd python3-dkim openssl`";
    assert!(!ci, "mail cannot be tested without {missing:?} ({hint}); CI must test it");
    println!("SKIPPED: this test needs {missing:?} ({hint})");
    false
}

/// What `swaks` said and how it ended; 0: the message was accepted.
#[derive(Debug)]
pub struct Swaks {
    pub code: i32,
    pub said: String,
}

/// Sends with `swaks` to this address.
pub fn swaks(to: SocketAddr, arguments: &[&str]) -> Swaks {
    let done = Command::new("swaks")
        .args(["--server", &to.ip().to_string(), "--port", &to.port().to_string(), "--timeout", "60"])
        .args(["--helo", "client.test", "--suppress-data"])
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Swaks { code: done.status.code().unwrap_or(-1), said: text(done.stdout) + &text(done.stderr) }
}

impl Swaks {
    #[track_caller]
    pub fn ok(self) -> Self {
        assert_eq!(self.code, 0, "{self:#?}");
        self
    }

    /// The message was refused with this answer.
    #[track_caller]
    pub fn refused(self, answer: &str) -> Self {
        assert_ne!(self.code, 0, "{self:#?}");
        assert!(self.said.contains(answer), "want `{answer}` in {self:#?}");
        self
    }
}

/// The value of a header, unfolded.
pub fn header(message: &str, name: &str) -> String {
    let head = message.split("\n\n").next().unwrap().replace("\n ", " ").replace("\n\t", " ");
    let wanted = format!("{}:", name.to_lowercase());
    head.lines()
        .find(|line| line.to_lowercase().starts_with(&wanted))
        .map(|line| line[wanted.len()..].trim().to_owned())
        .unwrap_or_default()
}

/// Whom a receiving server got this for.
pub fn recipient(message: &str) -> String {
    header(message, "Envelope-to") + &header(message, "X-RcptTo")
}

/// A certificate for `localhost` and its key, signed by itself.
pub fn certificate(dir: &Path) -> (String, String) {
    let (cert, key) = (dir.join("cert.pem"), dir.join("key.pem"));
    openssl(
        Command::new("openssl")
            .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"])
            .args(["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout"])
            .arg(&key)
            .arg("-out")
            .arg(&cert),
    );
    (cert.display().to_string(), key.display().to_string())
}

pub fn openssl(command: &mut Command) -> Vec<u8> {
    let done = command.stdin(Stdio::null()).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    done.stdout
}

/// A receiving mail server: Debian's `aiosmtpd` or Exim, which keeps what it gets in a mail folder.
#[derive(Debug)]
pub struct Post {
    pub address: SocketAddr,
    dir: TempDir,
    child: Child,
}

impl Post {
    pub fn start() -> Post {
        Self::start_at(free_port())
    }

    pub fn start_at(address: SocketAddr) -> Post {
        let dir = tempfile::tempdir().unwrap();
        let mut command = Command::new("aiosmtpd");
        command.args(["-n", "-d", "-l", &address.to_string(), "-c", "aiosmtpd.handlers.Mailbox"]);
        command.arg(dir.path().join("box"));
        Self::run(command, address, dir)
    }

    /// Exim, where it is installed and may deliver, which is as root only; else `aiosmtpd`.
    pub fn exim() -> Post {
        let probe = Command::new("exim4").arg("-bV").stdout(Stdio::null()).stderr(Stdio::null()).status();
        let root = std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0);
        if !root || probe.is_err() {
            println!("aiosmtpd instead of Exim: {}", if root { "it is not installed" } else { "not root" });
            return Self::start();
        }
        let (dir, address) = (tempfile::tempdir().unwrap(), free_port());
        // It runs as a user of its own.
        std::fs::set_permissions(dir.path(), Permissions::from_mode(0o777)).unwrap();
        let config = dir.path().join("exim.conf");
        let (folder, port) = (dir.path().display(), address.port());
        std::fs::write(
            &config,
            format!(
                "primary_hostname = far.test\ndaemon_smtp_ports = {port}\nlocal_interfaces = 127.0.0.1\n\
                 spool_directory = {folder}/spool\nlog_file_path = {folder}/%slog\npid_file_path = {folder}/pid\n\
                 deliver_drop_privilege = true\nkeep_environment =\ntls_advertise_hosts =\nhost_lookup =\n\
                 domainlist here = far.test\nacl_smtp_rcpt = to_here\n\
                 begin acl\nto_here:\n  accept domains = +here\n  deny message = relay not permitted\n\
                 begin routers\nall:\n  driver = accept\n  transport = box\n\
                 begin transports\nbox:\n  driver = appendfile\n  directory = {folder}/box\n  maildir_format\n  \
                 envelope_to_add\n"
            ),
        )
        .unwrap();
        let mut command = Command::new("exim4");
        command.arg("-C").arg(&config).arg("-bdf");
        Self::run(command, address, dir)
    }

    fn run(mut command: Command, address: SocketAddr, dir: TempDir) -> Post {
        let streams = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = streams.spawn().unwrap();
        let stderr = child.stderr.take().unwrap();
        std::thread::spawn(move || BufReader::new(stderr).lines().map_while(Result::ok).for_each(drop));
        let post = Post { address, dir, child };
        let deadline = Instant::now() + PATIENCE;
        while std::net::TcpStream::connect(address).is_err() {
            assert!(Instant::now() < deadline, "nobody listens on {address}: {command:?}");
            std::thread::yield_now();
        }
        post
    }

    /// Waits until so many messages are there; all of them, in the order of coming.
    pub fn wait_for(&self, count: usize) -> Vec<String> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let found = self.messages();
            if found.len() >= count {
                return found;
            }
            assert!(Instant::now() < deadline, "{} of {count} messages came", found.len());
            std::thread::yield_now();
        }
    }

    pub fn messages(&self) -> Vec<String> {
        let folder = self.dir.path().join("box/new");
        let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
        let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
        files.sort_by_cached_key(|file| std::fs::metadata(file).and_then(|about| about.modified()).ok());
        files.iter().filter_map(|file| std::fs::read_to_string(file).ok()).collect()
    }
}

impl Drop for Post {
    fn drop(&mut self) {
        let _already_gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// An address where nobody listens.
pub fn free_port() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}
