//! The sandbox of a child process, entered by the child itself: a hidden subcommand of the binary that ties its life
//! to the server's, closes the file system behind itself (Landlock, where the kernel has it) and becomes the program.
//!
//! Its arguments hold paths only; secrets come through the environment. It is a program of its own: it may know
//! nothing of the server.

use std::ffi::OsString;
use std::fmt;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Name of the hidden subcommand.
pub const SUBCOMMAND: &str = "__sandbox";
/// Exit code when the program could not be started.
pub const EXIT_NOT_STARTED: u8 = 127;

/// System directories that a program may read and run from.
const READ_ROOTS: [&str; 14] = [
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib32",
    "/lib64",
    "/opt",
    "/nix",
    "/etc",
    "/proc",
    "/sys/devices/system",
    "/sys/fs/cgroup",
    "/run/systemd/resolve",
    "/run/resolvconf",
];
/// Devices that a program may read and write.
const DEVICES: [&str; 8] = [
    "/dev/null",
    "/dev/zero",
    "/dev/full",
    "/dev/random",
    "/dev/urandom",
    "/dev/tty",
    "/dev/ptmx",
    "/dev/pts",
];

/// What keeps a child in its place on this machine.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Confinement {
    /// Landlock with this version of its kernel interface.
    Landlock { abi: u32 },
    /// Nothing, and why.
    None { reason: String },
}

impl fmt::Display for Confinement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Landlock { abi } => write!(f, "landlock ABI {abi}"),
            Self::None { reason } => write!(f, "none: {reason}"),
        }
    }
}

/// What one process in it may take; what it starts has the same limits.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Limits {
    /// Largest file that it may write.
    pub file_bytes: Option<u64>,
    /// Address space.
    pub memory_bytes: Option<u64>,
}

/// What the child is told. Written as arguments after [`SUBCOMMAND`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SandboxArgs {
    /// The server; the child ends when it is not its parent.
    pub parent: u32,
    /// False: tie the life, but close nothing.
    pub confine: bool,
    /// Files and directories that the program may read and run.
    pub read: Vec<PathBuf>,
    /// Directories where it may do anything.
    pub write: Vec<PathBuf>,
    pub limits: Limits,
    /// The program and its arguments.
    pub command: Vec<OsString>,
}

impl SandboxArgs {
    /// The arguments, [`SUBCOMMAND`] first.
    #[must_use]
    pub fn to_args(&self) -> Vec<OsString> {
        let mut args: Vec<OsString> =
            vec![SUBCOMMAND.into(), "--parent".into(), self.parent.to_string().into()];
        if self.confine {
            args.push("--confine".into());
        }
        for (flag, paths) in [("--read", &self.read), ("--write", &self.write)] {
            args.extend(paths.iter().flat_map(|path| [flag.into(), path.clone().into_os_string()]));
        }
        let limits = [("--file-bytes", self.limits.file_bytes), ("--memory-bytes", self.limits.memory_bytes)];
        for (flag, bytes) in limits {
            args.extend(bytes.into_iter().flat_map(|bytes| [flag.into(), bytes.to_string().into()]));
        }
        args.push("--".into());
        args.extend(self.command.iter().cloned());
        args
    }

    /// Reads what [`SandboxArgs::to_args`] wrote, after the subcommand.
    pub fn from_args(args: impl IntoIterator<Item = OsString>) -> Result<Self, String> {
        let mut args = args.into_iter();
        let mut read = Self {
            parent: 0,
            confine: false,
            read: vec![],
            write: vec![],
            limits: Limits::default(),
            command: vec![],
        };
        while let Some(flag) = args.next() {
            let mut value = || args.next().ok_or_else(|| format!("{} needs a value", flag.display()));
            match flag.to_str() {
                Some("--parent") => {
                    let text = value()?;
                    let parsed = text.to_str().and_then(|text| text.parse().ok());
                    read.parent =
                        parsed.ok_or_else(|| format!("`{}` is not a process id", text.display()))?;
                }
                Some("--confine") => read.confine = true,
                Some("--file-bytes") => read.limits.file_bytes = Some(number(&value()?)?),
                Some("--memory-bytes") => read.limits.memory_bytes = Some(number(&value()?)?),
                Some("--read") => read.read.push(value()?.into()),
                Some("--write") => read.write.push(value()?.into()),
                Some("--") => {
                    read.command = args.by_ref().collect();
                    break;
                }
                _ => return Err(format!("unknown argument `{}`", flag.display())),
            }
        }
        if read.command.is_empty() { Err("no program was given".to_owned()) } else { Ok(read) }
    }
}

/// The words that stand before those of a program that this process starts confined; `None` where a path is no UTF-8 text.
pub fn prefix(read: Vec<PathBuf>, write: Vec<PathBuf>) -> std::io::Result<Option<Vec<String>>> {
    let (parent, limits, command) = (std::process::id(), Limits::default(), Vec::new());
    let args = SandboxArgs { parent, confine: true, read, write, limits, command };
    let own = std::env::current_exe()?.into_os_string();
    Ok(std::iter::once(own).chain(args.to_args()).map(|word| word.into_string().ok()).collect())
}

/// Whether a program that may write in `folder` would have the whole machine, or the home folder with its keys.
#[must_use]
pub fn is_too_much(folder: &Path, home: Option<&str>) -> bool {
    let home = home.map(|home| PathBuf::from(home).canonicalize().unwrap_or_else(|_| home.into()));
    folder.parent().is_none() || home.is_some_and(|home| home.starts_with(folder))
}

fn number(text: &OsString) -> Result<u64, String> {
    let parsed = text.to_str().and_then(|text| text.parse().ok());
    parsed.ok_or_else(|| format!("`{}` is not a number of bytes", text.display()))
}

/// Runs the hidden subcommand: returns only when the program could not be started, with the reason.
pub fn enter_and_exec(args: impl IntoIterator<Item = OsString>) -> String {
    match enter(args) {
        Ok(never) => match never {},
        Err(reason) => format!("the sandbox of this process could not be entered: {reason}"),
    }
}

fn enter(args: impl IntoIterator<Item = OsString>) -> Result<std::convert::Infallible, String> {
    let args = SandboxArgs::from_args(args)?;
    tie_to_parent(args.parent)?;
    rustix::process::setsid().map_err(|error| format!("no session of its own: {error}"))?;
    limit(args.limits)?;
    if args.confine {
        confine(&args)?;
    }
    let Some((program, rest)) = args.command.split_first() else {
        return Err("no program was given".to_owned());
    };
    let error = Command::new(program).args(rest).exec();
    Err(format!("cannot run `{}`: {error}", program.display()))
}

fn limit(limits: Limits) -> Result<(), String> {
    use rustix::process::{Resource, Rlimit, setrlimit};
    for (resource, bytes) in [(Resource::Fsize, limits.file_bytes), (Resource::As, limits.memory_bytes)] {
        if bytes.is_some() {
            let limit = Rlimit { current: bytes, maximum: bytes };
            setrlimit(resource, limit).map_err(|error| format!("a limit cannot be set: {error}"))?;
        }
    }
    Ok(())
}

/// The kernel kills this process when the server goes, however it goes. It may have gone already.
#[cfg(target_os = "linux")]
fn tie_to_parent(parent: u32) -> Result<(), String> {
    use rustix::process::{Signal, getppid, set_parent_process_death_signal};
    set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(|error| format!("no parent-death signal: {error}"))?;
    let found = getppid().map(rustix::process::Pid::as_raw_nonzero);
    if found.and_then(|pid| u32::try_from(pid.get()).ok()) == Some(parent) {
        Ok(())
    } else {
        Err("the server that started it is gone".to_owned())
    }
}

#[cfg(not(target_os = "linux"))]
fn tie_to_parent(_parent: u32) -> Result<(), String> {
    Ok(())
}

/// What this machine can do.
#[cfg(target_os = "linux")]
#[must_use]
pub fn available() -> Confinement {
    use landlock::{ABI, Access as _, AccessFs, CompatLevel, Compatible as _, Ruleset, RulesetAttr as _};
    let works = |abi: ABI| {
        let ruleset = Ruleset::default().set_compatibility(CompatLevel::HardRequirement);
        ruleset.handle_access(AccessFs::from_all(abi)).and_then(Ruleset::create).is_ok()
    };
    let scopes = || {
        let ruleset = Ruleset::default().set_compatibility(CompatLevel::HardRequirement);
        ruleset.scope(landlock::Scope::Signal).and_then(Ruleset::create).is_ok()
    };
    if scopes() {
        return Confinement::Landlock { abi: ABI::V6 as u32 };
    }
    match [ABI::V5, ABI::V3, ABI::V2, ABI::V1].into_iter().find(|abi| works(*abi)) {
        Some(abi) => Confinement::Landlock { abi: abi as u32 },
        None => Confinement::None {
            reason: "this kernel has no Landlock, or it is not enabled at boot".to_owned(),
        },
    }
}

#[cfg(not(target_os = "linux"))]
#[must_use]
pub fn available() -> Confinement {
    Confinement::None { reason: "Landlock exists on Linux only".to_owned() }
}

#[cfg(target_os = "linux")]
fn confine(args: &SandboxArgs) -> Result<(), String> {
    use landlock::{
        ABI, Access as _, AccessFs, CompatLevel, Compatible as _, Ruleset, RulesetAttr as _,
        RulesetCreatedAttr as _, Scope, path_beneath_rules,
    };
    // Asks for all that this version of the program knows and takes what the kernel gives.
    let abi = ABI::V6;
    let apply = || -> Result<(), landlock::RulesetError> {
        let device = AccessFs::ReadFile | AccessFs::WriteFile | AccessFs::ReadDir | AccessFs::IoctlDev;
        Ruleset::default()
            .set_compatibility(CompatLevel::BestEffort)
            .handle_access(AccessFs::from_all(abi))?
            .scope(Scope::from_all(abi))?
            .create()?
            .add_rules(path_beneath_rules(READ_ROOTS, AccessFs::from_read(abi)))?
            .add_rules(path_beneath_rules(&args.read, AccessFs::from_read(abi)))?
            .add_rules(path_beneath_rules(DEVICES, device))?
            .add_rules(path_beneath_rules(&args.write, AccessFs::from_all(abi)))?
            .restrict_self()
            .map(drop)
    };
    apply().map_err(|error| format!("Landlock refused the rules: {error}"))?;
    drop_capabilities()
}

/// Landlock does not stop root's capabilities: one of them alone reads the environment of other processes. With the
/// no-new-privileges flag that Landlock has set, no program gets them back.
#[cfg(target_os = "linux")]
fn drop_capabilities() -> Result<(), String> {
    use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities};
    let none = CapabilitySet::empty();
    let sets = CapabilitySets { effective: none, permitted: none, inheritable: none };
    set_capabilities(None, sets).map_err(|error| format!("capabilities cannot be dropped: {error}"))
}

#[cfg(not(target_os = "linux"))]
fn confine(_args: &SandboxArgs) -> Result<(), String> {
    Err("Landlock exists on Linux only".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_read_back_as_written() {
        let args = SandboxArgs {
            parent: 42,
            confine: true,
            read: vec!["/a b".into()],
            write: vec!["/w".into(), "--".into()],
            limits: Limits { file_bytes: Some(7), memory_bytes: None },
            command: vec!["prog".into(), "--parent".into(), "--".into(), String::new().into()],
        };
        let mut written = args.to_args();
        assert_eq!(written.remove(0), SUBCOMMAND);
        assert_eq!(SandboxArgs::from_args(written).unwrap(), args);
    }

    #[test]
    fn bad_arguments_are_refused() {
        for bad in [
            vec![],
            vec!["--parent"],
            vec!["--parent", "x", "--", "p"],
            vec!["--what"],
            vec!["--"],
            vec!["--file-bytes", "-1"],
        ] {
            let args = bad.iter().map(OsString::from);
            assert!(SandboxArgs::from_args(args).is_err(), "{bad:?}");
        }
    }
}
