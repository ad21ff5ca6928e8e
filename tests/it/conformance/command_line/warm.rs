//! The tool, started once for all steps of a test process: `tests/conformance/command_line.py` runs each command in a
//! fork of itself. A start of its own takes seconds.

use super::COMMAND_LIMIT;
use crate::support::clients::{Finished, PythonClients};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use tempfile::TempDir;

/// A running one; it ends with this process, whose end of its standard input closes then.
pub(super) struct Warm {
    folder: TempDir,
    _child: Child,
}

impl Warm {
    pub(super) fn get(python: &PythonClients) -> &'static Warm {
        static WARM: OnceLock<Warm> = OnceLock::new();
        WARM.get_or_init(|| Warm::start(python))
    }

    fn start(python: &PythonClients) -> Warm {
        let folder = tempfile::tempdir().unwrap();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance/command_line.py");
        let mut child = Command::new(&python.python)
            .arg(script)
            .arg(socket(&folder))
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut said).unwrap();
        assert_eq!(said, "ready\n", "the official tool cannot be kept ready");
        Warm { folder, _child: child }
    }

    /// Runs a command with these variables in addition to those of this process.
    pub(super) fn run(&self, arguments: &[String], home: &Path, variables: &[(&str, &str)]) -> Finished {
        let variables: Value =
            variables.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
        let mut stream = UnixStream::connect(socket(&self.folder)).unwrap();
        stream.set_read_timeout(Some(COMMAND_LIMIT)).unwrap();
        let asked = json!({"argv": arguments, "cwd": home, "env": variables});
        writeln!(stream, "{asked}").unwrap();
        let mut answer = String::new();
        let read = BufReader::new(stream).read_line(&mut answer);
        let shown = arguments.join(" ");
        assert!(read.is_ok_and(|bytes| bytes > 0), "`{shown}` did not end within {COMMAND_LIMIT:?}");
        let answer: Value = serde_json::from_str(&answer).unwrap();
        let text = |name: &str| answer[name].as_str().unwrap().to_owned();
        let code = answer["code"].as_i64().and_then(|code| i32::try_from(code).ok());
        Finished { code, stdout: text("stdout"), stderr: text("stderr") }
    }
}

fn socket(folder: &TempDir) -> PathBuf {
    folder.path().join("socket")
}
