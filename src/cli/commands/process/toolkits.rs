//! The flags of the tools that have several of them, read into what the agent runs with.

use super::args::{self, ProcessArgs, on};
use crate::agent::config::{
    McpSecret, MemoryConfig, MountConfig, MountPlace, ShellConfig, ShellPlace, TablesConfig, ToolSearch,
};
use crate::cli::error::CliError;
use crate::client::room::Token;
use crate::runtime::sandbox::{self, Confinement};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Image of the shell unless one is named. The official default is an image of MeshAgent's own registry.
const IMAGE: &str = "python:3.13";
/// Keys that a delegated token stands for.
const TOKEN_VARIABLES: [&str; 5] =
    ["MESHAGENT_TOKEN", "OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GROK_API_KEY", "XAI_API_KEY"];

/// What the shell tools run with; `None` when there are none. `env` gives a variable that is set.
pub fn config(
    process: &ProcessArgs,
    image_mounts: &[String],
    token: &Token,
    env: impl Fn(&str) -> Option<String>,
) -> Result<Option<ShellConfig>, CliError> {
    let given = &process.shell;
    let (shell, advanced) = (on(given.shell.as_ref(), false), given.advanced_shell);
    if !shell && !advanced {
        return Ok(None);
    }
    let home = env("HOME");
    let place = place(given.shell_image.as_deref(), given.working_dir.as_deref(), home.as_deref())?;
    let mut variables = BTreeMap::new();
    for name in given.shell_copy_env.iter().flat_map(|names| names.split(',')).map(str::trim) {
        let value = env(name)
            .ok_or_else(|| CliError::usage(format!("--shell-copy-env variable is not set: {name}")))?;
        variables.insert(name.to_owned(), value);
    }
    for pair in &given.shell_set_env {
        // What is given may be a secret.
        let (name, value) = pair
            .split_once('=')
            .filter(|(name, _)| !name.trim().is_empty())
            .ok_or_else(|| CliError::usage("a --shell-set-env is not of the form NAME=VALUE"))?;
        variables.insert(name.trim().to_owned(), value.to_owned());
    }
    if on(given.delegate_shell_token.as_ref(), false) {
        variables.extend(TOKEN_VARIABLES.map(|name| (name.to_owned(), token.reveal().to_owned())));
    }
    let mounts = mounts(process, image_mounts, env, &mut variables)?;
    Ok(Some(ShellConfig {
        shell,
        advanced,
        place,
        mounts,
        env: variables,
        working_dir: given.working_dir.clone(),
    }))
}

/// Where commands run: in a container of an image, `none` on this machine as it is, `sandbox` on this machine where they
/// reach the working folder only.
fn place(image: Option<&str>, working_dir: Option<&str>, home: Option<&str>) -> Result<ShellPlace, CliError> {
    match image.map(str::trim).filter(|image| !image.is_empty()) {
        None => Ok(ShellPlace::Image(IMAGE.to_owned())),
        Some(image) if image.eq_ignore_ascii_case("none") => Ok(ShellPlace::Local { prefix: Vec::new() }),
        Some(image) if image.eq_ignore_ascii_case("sandbox") => sandboxed(working_dir, home),
        Some(image) => Ok(ShellPlace::Image(image.to_owned())),
    }
}

fn sandboxed(working_dir: Option<&str>, home: Option<&str>) -> Result<ShellPlace, CliError> {
    let folder = writable(working_dir, home)?;
    if let Confinement::None { reason } = sandbox::available() {
        return Err(CliError::user(format!("--shell-image sandbox cannot confine commands here: {reason}"))
            .hint("use an image, or `none` for commands that nothing confines"));
    }
    let prefix = sandbox::prefix(Vec::new(), vec![folder])?;
    let prefix = prefix.ok_or_else(|| CliError::user("the working folder's path is no UTF-8 text"))?;
    Ok(ShellPlace::Local { prefix })
}

/// The folder that confined commands may write in. Never one that was not named, and never one that the home folder
/// with its keys is in.
fn writable(working_dir: Option<&str>, home: Option<&str>) -> Result<PathBuf, CliError> {
    let Some(given) = working_dir.map(str::trim).filter(|folder| !folder.is_empty()) else {
        return Err(CliError::usage("--shell-image sandbox needs --working-dir")
            .hint("name the folder in which commands may read and write"));
    };
    let folder = PathBuf::from(given)
        .canonicalize()
        .map_err(|error| CliError::user(format!("--working-dir {given}: {error}")))?;
    if sandbox::is_too_much(&folder, home) {
        return Err(CliError::user(format!(
            "--working-dir {given} is too much for --shell-image sandbox: commands could read and write all that is \
             there, the home folder and its keys too"
        ))
        .hint("make a folder of its own"));
    }
    Ok(folder)
}

/// The mounts that are asked for; the room's files at `/data` where none is.
fn mounts(
    process: &ProcessArgs,
    image_mounts: &[String],
    env: impl Fn(&str) -> Option<String>,
    variables: &mut BTreeMap<String, String>,
) -> Result<Value, CliError> {
    let given = &process.shell;
    let mut all: Map<String, Value> = Map::new();
    let mut add = |kind: &str, mount: Value| {
        if let Value::Array(list) = all.entry(kind).or_insert_with(|| json!([])) {
            list.push(mount)
        }
    };
    for text in given.shell_room_mounts.iter().chain(&given.shell_tool_room_paths) {
        let (source, path, read_only) = source_and_path(text, "--shell-room-mount")?;
        let subpath = Some(source).filter(|source| !matches!(*source, "" | "." | "/"));
        add("room", json!({"path": path, "subpath": subpath, "read_only": read_only}));
    }
    for text in given.shell_empty_dir_mounts.iter().chain(&given.shell_tool_empty_dirs) {
        let (path, read_only) = access(text);
        if path.is_empty() || path.contains(':') {
            return Err(wrong("--shell-empty-dir-mount", "MOUNT[:ro|rw]"));
        }
        add("empty_dirs", json!({"path": path, "read_only": read_only.unwrap_or(false)}));
    }
    for text in image_mounts {
        let shape = || wrong("--shell-image-mount", "IMAGE=MOUNT[:ro|rw]");
        let (image, rest) = text.split_once('=').ok_or_else(shape)?;
        let (path, read_only) = access(rest);
        if image.trim().is_empty() || path.is_empty() {
            return Err(shape());
        }
        add("images", json!({"image": image.trim(), "path": path, "read_only": read_only.unwrap_or(true)}));
    }
    for (n, path) in given.shell_tool_config_mounts.iter().map(|path| path.trim()).enumerate() {
        if path.is_empty() || path.contains(':') {
            return Err(wrong("--shell-tool-config-mount", "MOUNT"));
        }
        let mut any = false;
        for (variable, name) in
            [("MESHAGENT_SPEC_PATH", "spec.json"), ("MESHAGENT_MEMBERS_PATH", "members.json")]
        {
            let Some(source) = env(variable) else { continue };
            let text = std::fs::read_to_string(&source)
                .map_err(|error| CliError::user(format!("{variable} {source} cannot be read: {error}")))?;
            let target = format!("{}/{name}", path.trim_end_matches('/'));
            add("files", json!({"path": target, "text": text, "read_only": true}));
            if n == 0 {
                variables.insert(variable.to_owned(), target);
            }
            any = true;
        }
        if !any {
            return Err(CliError::user("--shell-tool-config-mount has nothing to mount")
                .hint("set MESHAGENT_SPEC_PATH or MESHAGENT_MEMBERS_PATH"));
        }
    }
    if all.is_empty() {
        return Ok(json!({"room": [{"path": "/data"}]}));
    }
    Ok(Value::Object(all))
}

/// The folders of `--storage-tool-local-path` and `--storage-tool-room-path`.
pub fn storage_mounts(process: &ProcessArgs) -> Result<Vec<MountConfig>, CliError> {
    let given = &process.tools;
    let local = given.storage_local_paths.iter().map(|text| (text, true));
    let of_room = given.storage_room_paths.iter().map(|text| (text, false));
    let mount = |(text, local): (&String, bool)| {
        let flag = if local { "--storage-tool-local-path" } else { "--storage-tool-room-path" };
        let (source, path, read_only) = source_and_path(text, flag)?;
        let place = if local {
            MountPlace::Local(source.into())
        } else {
            MountPlace::Room(source.trim_matches('/').trim_start_matches("./").trim_matches('.').to_owned())
        };
        Ok(MountConfig { path: path.trim_matches('/').to_owned(), place, read_only })
    };
    local.chain(of_room).map(mount).collect()
}

/// The memory of `--use-memory NAME` or `NAMESPACE/NAME`.
pub fn memory(process: &ProcessArgs) -> Result<Option<MemoryConfig>, CliError> {
    let Some(text) = process.tools.use_memory.as_deref() else { return Ok(None) };
    let mut parts: Vec<String> = text.split('/').map(|part| part.trim().to_owned()).collect();
    if parts.iter().any(String::is_empty) {
        return Err(wrong("--use-memory", "NAME or NAMESPACE/NAME"));
    }
    let name = parts.pop().unwrap_or_default();
    let namespace = (!parts.is_empty()).then_some(parts);
    Ok(Some(MemoryConfig { name, namespace, model: process.tools.memory_model.clone() }))
}

/// The secrets of `--mcp-secret SECRET=URL`.
pub fn mcp_secrets(process: &ProcessArgs) -> Result<Vec<McpSecret>, CliError> {
    let shape = || wrong("--mcp-secret", "SECRET=URL");
    let one = |text: &String| {
        let (id, url) = text.split_once('=').ok_or_else(shape)?;
        // An address may hold a secret itself, so it is not repeated.
        let url = url::Url::parse(url.trim()).map_err(|_| shape())?;
        let id = Some(id.trim().to_owned()).filter(|id| !id.is_empty()).ok_or_else(shape)?;
        Ok(McpSecret { id, url })
    };
    process.tools.mcp_secrets.iter().map(one).collect()
}

/// What `--tool-search` hides.
pub fn tool_search(process: &ProcessArgs) -> ToolSearch {
    match process.tools.tool_search {
        None | Some(args::ToolSearch::None) => ToolSearch::None,
        Some(args::ToolSearch::Agent) => ToolSearch::Agent,
        Some(args::ToolSearch::Room) => ToolSearch::Room,
    }
}

/// The tables of `--table-read` and `--table-write`.
pub fn tables(process: &ProcessArgs) -> Result<TablesConfig, CliError> {
    let given = &process.tools;
    let namespace = given.dataset_namespace.as_deref().map(|text| {
        let parts: Vec<String> = text.split("::").map(|part| part.trim().to_owned()).collect();
        if parts.iter().any(String::is_empty) { Err(wrong("--dataset-namespace", "a::b")) } else { Ok(parts) }
    });
    Ok(TablesConfig {
        namespace: namespace.transpose()?,
        read: given.table_reads.clone(),
        write: given.table_writes.clone(),
    })
}

fn wrong(flag: &str, shape: &str) -> CliError {
    CliError::usage(format!("{flag} must be in the form {shape}"))
}

/// `SOURCE:MOUNT[:ro|rw]`.
pub(super) fn source_and_path<'a>(text: &'a str, flag: &str) -> Result<(&'a str, &'a str, bool), CliError> {
    let (rest, read_only) = access(text);
    let parts = rest.rsplit_once(':').map(|(source, path)| (source.trim(), path.trim()));
    let (source, path) = parts
        .filter(|(source, path)| !source.is_empty() && !path.is_empty())
        .ok_or_else(|| wrong(flag, "SOURCE:MOUNT[:ro|rw]"))?;
    Ok((source, path, read_only.unwrap_or(false)))
}

/// What stands before `:ro` or `:rw`, and whether it is read-only where that is said.
fn access(text: &str) -> (&str, Option<bool>) {
    match text.trim().rsplit_once(':') {
        Some((rest, "ro")) => (rest.trim(), Some(true)),
        Some((rest, "rw")) => (rest.trim(), Some(false)),
        _ => (text.trim(), None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::commands::process::join::JoinArgs;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        join: JoinArgs,
    }

    fn read(flags: &[&str]) -> Result<Option<ShellConfig>, String> {
        let all = [&["x", "--channel", "chat"], flags].concat();
        let line = Line::try_parse_from(all).unwrap().join;
        let env = |name: &str| match name {
            "MESHAGENT_SPEC_PATH" => Some("/no/such/spec".to_owned()),
            "PATH" => Some("/bin".to_owned()),
            _ => None,
        };
        config(&line.process, &line.join.shell_image_mounts, &Token::new("s3cret"), env)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn without_the_flags_there_is_no_shell_and_with_them_a_container_with_the_rooms_files() {
        assert_eq!(read(&[]).unwrap(), None);
        assert_eq!(read(&["--shell=false", "--shell-image", "x"]).unwrap(), None);
        let plain = read(&["--shell"]).unwrap().unwrap();
        assert!(plain.shell && !plain.advanced && plain.env.is_empty());
        assert_eq!(plain.place, ShellPlace::Image("python:3.13".into()));
        assert_eq!(plain.mounts, json!({"room": [{"path": "/data"}]}));
        let host = read(&["--advanced-shell", "--shell-image", "None"]).unwrap().unwrap();
        assert!(host.advanced && host.place == ShellPlace::Local { prefix: Vec::new() });
    }

    #[test]
    fn mounts_and_variables_are_read_as_the_official_tool_reads_them() {
        let full = read(&[
            "--shell",
            "--shell-room-mount",
            "/:/all:ro",
            "--shell-room-mount",
            "a/b:/b",
            "--shell-empty-dir-mount",
            "/tmp/x:rw",
            "--shell-image-mount",
            "busybox=/busy",
            "--shell-set-env",
            "A=1=2",
            "--shell-copy-env",
            "PATH",
            "--delegate-shell-token",
        ]);
        let full = full.unwrap().unwrap();
        assert_eq!(
            full.mounts,
            json!({"room": [{"path": "/all", "subpath": null, "read_only": true},
                    {"path": "/b", "subpath": "a/b", "read_only": false}],
                "empty_dirs": [{"path": "/tmp/x", "read_only": false}],
                "images": [{"image": "busybox", "path": "/busy", "read_only": true}]})
        );
        assert_eq!((full.env["A"].as_str(), full.env["OPENAI_API_KEY"].as_str()), ("1=2", "s3cret"));
        assert!(full.env.contains_key("PATH") && !format!("{full:?}").contains("s3cret"));
    }

    #[test]
    fn folders_of_the_storage_tools_have_places() {
        let all = [
            "x",
            "--channel",
            "chat",
            "--storage-tool-local-path",
            "/srv/a:/work:ro",
            "--storage-tool-room-path",
            "/:all",
        ];
        let line = Line::try_parse_from(all).unwrap().join;
        let mounts = storage_mounts(&line.process).unwrap();
        let local = MountPlace::Local("/srv/a".into());
        assert_eq!(mounts[0], MountConfig { path: "work".into(), place: local, read_only: true });
        let room = MountPlace::Room(String::new());
        assert_eq!(mounts[1], MountConfig { path: "all".into(), place: room, read_only: false });
        let line =
            Line::try_parse_from(["x", "--channel", "chat", "--storage-tool-local-path", "/srv"]).unwrap();
        assert!(storage_mounts(&line.join.process).unwrap_err().to_string().contains("SOURCE:MOUNT"));
    }

    #[test]
    fn a_sandbox_has_a_folder_of_its_own_that_is_named() {
        let all = tempfile::tempdir().unwrap();
        let (home, work) = (all.path().join("home/me"), all.path().join("home/me/work"));
        std::fs::create_dir_all(&work).unwrap();
        std::os::unix::fs::symlink(&home, work.join("link")).unwrap();
        let home = home.to_str();
        let of = |path: &std::path::Path| writable(path.to_str(), home).map_err(|error| error.to_string());
        assert_eq!(of(&work).unwrap(), work.canonicalize().unwrap());
        for path in ["home/me", "home/me/work/link", "home/me/work/..", "home", ""] {
            let error = of(&all.path().join(path)).unwrap_err();
            assert!(error.contains("too much"), "{path}: {error}");
        }
        for home in [None, home] {
            assert!(writable(Some("/"), home).unwrap_err().to_string().contains("too much"));
            for none in [None, Some(" ")] {
                assert!(writable(none, home).unwrap_err().to_string().contains("--working-dir"));
            }
        }
        assert!(read(&["--shell", "--shell-image", "sandbox"]).unwrap_err().contains("--working-dir"));
    }

    #[test]
    fn a_secret_has_the_address_it_may_be_sent_to() {
        let secrets = |text: &str| {
            let line = Line::try_parse_from(["x", "--channel", "chat", "--mcp-secret", text]).unwrap();
            mcp_secrets(&line.join.process).map_err(|error| error.to_string())
        };
        let one = secrets("s-1=https://wiki.test/mcp?k=1").unwrap().remove(0);
        assert_eq!((one.id.as_str(), one.url.as_str()), ("s-1", "https://wiki.test/mcp?k=1"));
        for bad in ["s-1", "=https://wiki.test/s3cret", "s-1=s3cret"] {
            let error = secrets(bad).unwrap_err();
            assert!(error.contains("SECRET=URL") && !error.contains("s3cret"), "{bad}: {error}");
        }
    }

    #[test]
    fn what_has_not_the_form_is_refused() {
        for (flags, why) in [
            (&["--shell-room-mount", "nowhere"][..], "SOURCE:MOUNT"),
            (&["--shell-room-mount", ":/x"], "SOURCE:MOUNT"),
            (&["--shell-empty-dir-mount", "a:b"], "MOUNT[:ro|rw]"),
            (&["--shell-image-mount", "x"], "IMAGE=MOUNT"),
            (&["--shell-set-env", "s3cret"], "NAME=VALUE"),
            (&["--shell-copy-env", "NO_SUCH_VARIABLE"], "not set: NO_SUCH_VARIABLE"),
            (&["--shell-tool-config-mount", "/c"], "cannot be read"),
            (&["--shell-image", "sandbox", "--working-dir", "/no/such"], "/no/such"),
        ] {
            let error = read(&[&["--shell"], flags].concat()).unwrap_err();
            assert!(error.contains(why) && !error.contains("s3cret"), "{flags:?}: {error}");
        }
    }
}
