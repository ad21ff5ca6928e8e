//! Where a repository is, and whether it may be asked: public addresses and hosts that the operator allowed, and folders of
//! this machine that the operator named. The addresses that were checked are those that git connects to.

use super::run::{Job, Scratch};
use super::{GitError, Wanted};
use crate::net::guard::{self, Allowed};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use url::Url;

const SSH_PORT: u16 = 22;
/// How long ssh may take to connect, seconds.
const SSH_CONNECT_SECONDS: u8 = 15;

/// A repository that may be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Remote {
    Web {
        url: String,
        scheme: String,
        /// `host:port:address,address`, where the host is a name.
        pin: Option<String>,
    },
    Ssh {
        url: String,
        host: String,
        address: IpAddr,
    },
    /// With its real path.
    File {
        path: PathBuf,
    },
}

/// Reads a URL and holds it against what is allowed.
pub(super) async fn resolve(text: &str, allowed: &Allowed, roots: &[PathBuf]) -> Result<Remote, GitError> {
    let url =
        Url::parse(text).map_err(|error| GitError::NotAllowed(format!("the url is no URL: {error}")))?;
    match url.scheme() {
        "https" | "http" => web(url, allowed).await,
        "ssh" => ssh(&url, allowed).await,
        "file" => file(&url, roots).await,
        other => Err(GitError::NotAllowed(format!("repositories are not reached by `{other}`"))),
    }
}

async fn web(url: Url, allowed: &Allowed) -> Result<Remote, GitError> {
    let target = guard::check_url(url, allowed).await?;
    let (url, host) = (&target.url, target.host().to_owned());
    let port = url.port_or_known_default().unwrap_or_default();
    if url.scheme() == "http" && !allowed.names(&host, port) {
        return Err(GitError::NotAllowed(format!(
            "`{host}` is to be asked without encryption; write https, or have the operator allow this host (`meshagent up --allow-host`)"
        )));
    }
    let is_address = bare(&host).parse::<IpAddr>().is_ok();
    let pin = (!is_address).then(|| format!("{host}:{port}:{}", listed(&target.addresses)));
    Ok(Remote::Web { url: url.to_string(), scheme: url.scheme().to_owned(), pin })
}

async fn ssh(url: &Url, allowed: &Allowed) -> Result<Remote, GitError> {
    let host = url.host_str().unwrap_or_default().to_owned();
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':' | '[' | ']');
    if host.is_empty() || host.starts_with('-') || !host.chars().all(plain) {
        return Err(GitError::NotAllowed("the URL names no host".to_owned()));
    }
    let user = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    if !url.username().chars().all(user) || url.username().starts_with('-') {
        return Err(GitError::NotAllowed("the user in the URL is not one".to_owned()));
    }
    let addresses = guard::check_host(&host, url.port().unwrap_or(SSH_PORT), allowed).await?;
    let address = addresses.first().map(SocketAddr::ip);
    let address = address.ok_or_else(|| GitError::NotAllowed(format!("`{host}` has no address")))?;
    Ok(Remote::Ssh { url: url.to_string(), host: known_as(&host, url.port()), address })
}

async fn file(url: &Url, roots: &[PathBuf]) -> Result<Remote, GitError> {
    let refused = || {
        let text = "this folder of the server is not to be read; have the operator allow it (`meshagent up --git-root DIR`)";
        GitError::NotAllowed(text.to_owned())
    };
    let path = url.to_file_path().map_err(|()| refused())?;
    // What is not below an allowed folder is refused the same way whether it is there or not.
    let path = tokio::fs::canonicalize(path).await.map_err(|_| refused())?;
    for root in roots {
        let real = tokio::fs::canonicalize(root).await;
        if real.is_ok_and(|root| path.starts_with(root)) {
            return Ok(Remote::File { path });
        }
    }
    Err(refused())
}

fn bare(host: &str) -> &str {
    host.trim_start_matches('[').trim_end_matches(']')
}

/// A host as lines of `known_hosts` name it.
fn known_as(host: &str, port: Option<u16>) -> String {
    match port.filter(|port| *port != SSH_PORT) {
        Some(port) => format!("[{}]:{port}", bare(host)),
        None => bare(host).to_owned(),
    }
}

fn listed(addresses: &[SocketAddr]) -> String {
    let one = |address: &SocketAddr| match address.ip() {
        IpAddr::V4(v4) => v4.to_string(),
        IpAddr::V6(v6) => format!("[{v6}]"),
    };
    addresses.iter().map(one).collect::<Vec<_>>().join(",")
}

impl Remote {
    /// As git is told.
    pub fn url(&self) -> String {
        match self {
            Self::Web { url, .. } | Self::Ssh { url, .. } => url.clone(),
            Self::File { path } => format!("file://{}", path.display()),
        }
    }

    /// What git needs to know for it: which way it may take, whom to trust, what to say of us.
    pub async fn prepare(&self, wanted: &Wanted, scratch: &Scratch, job: &mut Job) -> Result<(), GitError> {
        match self {
            Self::Web { scheme, pin, .. } => {
                job.env("GIT_ALLOW_PROTOCOL", scheme.clone());
                if let Some(pin) = pin {
                    job.config("http.curloptResolve", pin.clone());
                }
                if let Some(secret) = &wanted.secret {
                    let mut pair = format!("{}:", wanted.username).into_bytes();
                    pair.extend_from_slice(secret.expose().trim_ascii());
                    job.config("http.extraHeader", format!("Authorization: Basic {}", STANDARD.encode(pair)));
                }
            }
            Self::Ssh { host, address, .. } => {
                job.env("GIT_ALLOW_PROTOCOL", "ssh".to_owned());
                job.env("GIT_SSH_VARIANT", "ssh".to_owned());
                let command = ssh_command(wanted, scratch, host, *address).await?;
                job.env("GIT_SSH_COMMAND", command);
            }
            Self::File { .. } => job.env("GIT_ALLOW_PROTOCOL", "file".to_owned()),
        }
        Ok(())
    }
}

async fn ssh_command(
    wanted: &Wanted,
    scratch: &Scratch,
    host: &str,
    address: IpAddr,
) -> Result<String, GitError> {
    let known = wanted.known_hosts.as_deref().unwrap_or_default();
    let known = scratch.write("known_hosts", format!("{}\n", known.trim_end()).as_bytes()).await?;
    let mut words = vec!["ssh".to_owned(), "-F".to_owned(), "none".to_owned()];
    if let Some(secret) = &wanted.secret {
        let mut key = secret.expose().trim_ascii().to_vec();
        key.push(b'\n');
        words.extend(["-i".to_owned(), scratch.write("key", &key).await?.display().to_string()]);
        key.fill(0);
    }
    let options = [
        "BatchMode=yes".to_owned(),
        "IdentitiesOnly=yes".to_owned(),
        "IdentityAgent=none".to_owned(),
        "StrictHostKeyChecking=yes".to_owned(),
        "GlobalKnownHostsFile=/dev/null".to_owned(),
        "ProxyCommand=none".to_owned(),
        "ClearAllForwardings=yes".to_owned(),
        "CheckHostIP=no".to_owned(),
        format!("ConnectTimeout={SSH_CONNECT_SECONDS}"),
        format!("UserKnownHostsFile={}", known.display()),
        format!("HostName={address}"),
        format!("HostKeyAlias={host}"),
    ];
    words.extend(options.into_iter().flat_map(|option| ["-o".to_owned(), option]));
    shlex::try_join(words.iter().map(String::as_str)).map_err(|error| GitError::Git(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_servers_own_files_and_network_are_not_reached() {
        let none = Allowed::default();
        for url in [
            "file:///etc",
            "file:///",
            "https://127.0.0.1/a",
            "https://localhost/a",
            "http://169.254.169.254/a",
            "ssh://git@127.0.0.1/a",
            "ssh://git@localhost/a",
            "ssh://0x7f.1/a",
            "http://8.8.8.8/a",
            "git://8.8.8.8/a",
            "https://u:p@8.8.8.8/a",
        ] {
            assert!(resolve(url, &none, &[]).await.is_err(), "{url}");
        }
    }

    #[tokio::test]
    async fn folders_are_reached_below_those_that_the_operator_named() {
        let (root, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::fs::create_dir(root.path().join("a.git")).unwrap();
        std::os::unix::fs::symlink(outside.path(), root.path().join("link")).unwrap();
        let roots = [root.path().to_owned()];
        let of = |path: String| {
            let roots = roots.clone();
            async move { resolve(&format!("file://{path}"), &Allowed::default(), &roots).await }
        };
        let at = root.path().display();
        assert!(of(format!("{at}/a.git")).await.is_ok());
        for bad in [
            format!("{at}/link"),
            format!("{at}/../"),
            format!("{at}/a.git/../../"),
            format!("{at}/gone"),
            outside.path().display().to_string(),
        ] {
            assert!(of(bad.clone()).await.is_err(), "{bad}");
        }
    }

    #[tokio::test]
    async fn ssh_knows_its_host_and_goes_to_the_checked_address() {
        let folder = tempfile::tempdir().unwrap();
        let scratch = Scratch::make(folder.path()).await.unwrap();
        let wanted = Wanted {
            url: String::new(),
            reference: super::super::Reference::Default,
            path: None,
            may_be_gone: false,
            secret: Some("KEY".to_owned().into()),
            username: "git".to_owned(),
            known_hosts: Some("h ssh-ed25519 AAAA".to_owned()),
            allowed_signers: None,
        };
        let allowed = Allowed::new(["127.0.0.1".to_owned()]);
        let remote = resolve("ssh://git@127.0.0.1:2222/a", &allowed, &[]).await.unwrap();
        let mut job = Job::new(&[]);
        remote.prepare(&wanted, &scratch, &mut job).await.unwrap();
        let command = &job.env.iter().find(|(name, _)| name == "GIT_SSH_COMMAND").unwrap().1;
        for word in [
            "-F none",
            "StrictHostKeyChecking=yes",
            "HostName=127.0.0.1",
            "HostKeyAlias=[127.0.0.1]:2222",
            "ProxyCommand=none",
        ] {
            assert!(command.contains(word), "{word} in {command}");
        }
        assert!(!command.contains("KEY"), "a secret is in {command}");
    }
}
