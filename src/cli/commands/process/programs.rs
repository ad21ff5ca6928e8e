//! The programs that do turns: their words, their sandbox, what they see.

use super::args::{ProcessArgs, ProgramArgs, named, on};
use super::config::{EndpointsEnv, Place};
use crate::agent::config::{Permission, ProgramConfig, ProgramsConfig};
use crate::agent::model::{Backend, ModelId};
use crate::cli::error::CliError;
use crate::cli::output;
use crate::runtime::sandbox::{self, Confinement};
use std::collections::BTreeMap;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The app server unless another is named.
const CODEX: &str = "codex app-server";
/// How long a turn may take unless told otherwise.
const TURN_MAX: Duration = Duration::from_hours(1);
/// Folder in the working folder that a confined program has as its home.
const HOME: &str = ".program-home";

/// The programs of the agent's models. `env` gives a variable that is set.
pub fn config(
    process: &ProcessArgs,
    models: &[ModelId],
    place: &Place,
    endpoints: &EndpointsEnv,
    env: impl Fn(&str) -> Option<String>,
) -> Result<ProgramsConfig, CliError> {
    let given = &process.program;
    let has = |backend| models.iter().any(|model| model.backend == backend);
    let (acp, codex) = (has(Backend::Acp), has(Backend::Codex));
    for (flag, is_given, needed, backend) in [
        ("--acp-command", given.acp_command.is_some(), acp, "acp"),
        ("--codex-command", given.codex_command.is_some(), codex, "codex"),
    ] {
        if is_given && !needed {
            return Err(CliError::usage(format!("{flag} needs --backend {backend}")));
        }
    }
    if !acp && !codex {
        return Ok(ProgramsConfig::default());
    }
    let folder = folder(process.shell.working_dir.as_deref())?;
    let mut variables = given_variables(given, &env)?;
    if given.program_token {
        let api = place.api_url.as_deref().map(|api| api.trim_end_matches('/'));
        variables.extend(token(place.room.token.reveal(), api, endpoints));
    }
    let one = |command: &str, flag: &str| {
        let words = shlex::split(command).filter(|words| !words.is_empty());
        let words = words.ok_or_else(|| CliError::usage(format!("{flag} is no command line: {command}")))?;
        program(words, given, &folder, variables.clone(), &env)
    };
    let acp = acp.then(|| {
        let command = given.acp_command.as_deref().ok_or_else(|| {
            CliError::usage("--backend acp needs --acp-command")
                .hint("name a program that speaks the Agent Client Protocol, with its arguments")
        })?;
        one(command, "--acp-command")
    });
    let codex = codex.then(|| one(given.codex_command.as_deref().unwrap_or(CODEX), "--codex-command"));
    Ok(ProgramsConfig { acp: acp.transpose()?, codex: codex.transpose()? })
}

/// Says which flags are of no use, where programs do all turns: they have tools of their own.
pub fn warn(process: &ProcessArgs, models: &[ModelId]) {
    if !models.iter().all(ModelId::is_program) {
        return;
    }
    let (tools, shell) = (&process.tools, &process.shell);
    let is_on = |switch: &Option<String>| on(switch.as_ref(), false);
    let flags = named(&[
        ("storage", is_on(&tools.storage)),
        ("read-only-storage", tools.read_only_storage),
        ("uuid", tools.uuid),
        ("require-toolkit", !tools.require_toolkits.is_empty()),
        ("image-generation", tools.image_generation.is_some()),
        ("apply-patch", is_on(&tools.apply_patch)),
        ("web-search", is_on(&tools.web_search)),
        ("web-fetch", is_on(&tools.web_fetch)),
        ("mcp", is_on(&tools.mcp)),
        ("table-read", !tools.table_reads.is_empty()),
        ("table-write", !tools.table_writes.is_empty()),
        ("use-memory", tools.use_memory.is_some()),
        ("shell", is_on(&shell.shell)),
        ("advanced-shell", shell.advanced_shell),
    ]);
    if !flags.is_empty() {
        output::note(format!(
            "warning: the program has tools of its own; {} is for models only",
            flags.join(", ")
        ));
    }
}

fn folder(working_dir: Option<&str>) -> Result<PathBuf, CliError> {
    let given = working_dir.map(str::trim).filter(|folder| !folder.is_empty()).unwrap_or(".");
    let folder = PathBuf::from(given).canonicalize();
    folder.map_err(|error| CliError::user(format!("--working-dir {given}: {error}")))
}

fn given_variables(
    given: &ProgramArgs,
    env: impl Fn(&str) -> Option<String>,
) -> Result<BTreeMap<String, String>, CliError> {
    let names = given.program_env.iter().flat_map(|names| names.split(',')).map(str::trim);
    let one = |name: &str| match env(name) {
        Some(value) => Ok((name.to_owned(), value)),
        None => Err(CliError::usage(format!("--program-env variable is not set: {name}"))),
    };
    names.filter(|name| !name.is_empty()).map(one).collect()
}

/// What a program needs to ask the server's models as the agent.
fn token(token: &str, api: Option<&str>, endpoints: &EndpointsEnv) -> Vec<(String, String)> {
    let keys = ["MESHAGENT_TOKEN", "OPENAI_API_KEY", "ANTHROPIC_API_KEY"];
    let mut all: Vec<_> = keys.map(|name| (name.to_owned(), token.to_owned())).to_vec();
    let at = |named: &Option<String>, path: &str| named.clone().or_else(|| Some(format!("{}{path}", api?)));
    let addresses = [
        ("MESHAGENT_API_URL", api.map(str::to_owned)),
        ("OPENAI_BASE_URL", at(&endpoints.openai.base_url, "/openai/v1")),
        ("ANTHROPIC_BASE_URL", at(&endpoints.anthropic.base_url, "/anthropic")),
    ];
    all.extend(addresses.into_iter().filter_map(|(name, address)| Some((name.to_owned(), address?))));
    all
}

fn program(
    mut words: Vec<String>,
    given: &ProgramArgs,
    folder: &Path,
    mut variables: BTreeMap<String, String>,
    env: impl Fn(&str) -> Option<String>,
) -> Result<ProgramConfig, CliError> {
    let first = words.first().cloned().unwrap_or_default();
    let found = found(&first, env("PATH").as_deref()).ok_or_else(|| {
        CliError::user(format!("program `{first}` is not there")).hint("install it, or name its whole path")
    })?;
    let name = found.file_name().map_or_else(|| first.clone(), |name| name.to_string_lossy().into_owned());
    if let Some(word) = words.first_mut() {
        *word = found.display().to_string();
    }
    let prefix = if given.program_host {
        Vec::new()
    } else {
        let home = env("HOME");
        let prefix = confined(given, folder, &found, home.as_deref())?;
        let own = own_home(folder)?;
        for variable in ["HOME", "TMPDIR"] {
            variables.entry(variable.to_owned()).or_insert_with(|| own.clone());
        }
        prefix
    };
    Ok(ProgramConfig {
        name,
        prefix,
        words,
        folder: folder.to_owned(),
        env: variables,
        permission: given.program_permission.map(Permission::from).unwrap_or_default(),
        turn_max: given.program_timeout.map_or(TURN_MAX, Duration::from_secs),
    })
}

/// The file that a word means: itself where it is a path, else what is found on the search path.
fn found(word: &str, path: Option<&str>) -> Option<PathBuf> {
    if word.contains('/') {
        return std::path::absolute(word).ok().filter(|file| file.is_file());
    }
    let folders =
        path.unwrap_or("/usr/local/bin:/usr/bin:/bin").split(':').filter(|folder| !folder.is_empty());
    folders.map(|folder| Path::new(folder).join(word)).find(|file| file.is_file())
}

fn confined(
    given: &ProgramArgs,
    folder: &Path,
    program: &Path,
    home: Option<&str>,
) -> Result<Vec<String>, CliError> {
    if sandbox::is_too_much(folder, home) {
        return Err(CliError::user(format!(
            "the program would work in {}, and could read and write all that is there, the home folder and its keys too",
            folder.display()
        ))
        .hint("name a folder of its own with --working-dir, or run it unconfined with --program-host"));
    }
    if let Confinement::None { reason } = sandbox::available() {
        return Err(CliError::user(format!("the program cannot be confined here: {reason}"))
            .hint("run it unconfined with --program-host"));
    }
    let named = |paths: &[String], flag: &str| -> Result<Vec<PathBuf>, CliError> {
        let one = |path: &String| {
            let failed = |error| CliError::user(format!("{flag} {path}: {error}"));
            PathBuf::from(path).canonicalize().map_err(failed)
        };
        paths.iter().map(one).collect()
    };
    let mut read = named(&given.program_reads, "--program-read")?;
    // Its own folder, and the one of what it is a link to.
    let real = program.canonicalize().unwrap_or_else(|_| program.to_owned());
    let own = [program, real.as_path()].into_iter().filter_map(Path::parent);
    read.extend(own.filter(|folder| !sandbox::is_too_much(folder, home)).map(Path::to_owned));
    let mut write = vec![folder.to_owned()];
    write.extend(named(&given.program_writes, "--program-write")?);
    let words = sandbox::prefix(read, write)?;
    words.ok_or_else(|| CliError::user("a path of the program's sandbox is no UTF-8 text"))
}

/// A home of its own, in which it may keep what it remembers of its sessions.
fn own_home(folder: &Path) -> Result<String, CliError> {
    let home = folder.join(HOME);
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&home);
    made.map_err(|error| CliError::user(format!("{}: {error}", home.display())))?;
    Ok(home.display().to_string())
}
