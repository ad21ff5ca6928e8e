//! Files that a program asks for: those below its folder only, whatever links are there.

use super::dialect::Wanted;
use super::rpc;
use crate::beneath;
use rustix::fs::OFlags;
use serde_json::{Value, json};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Largest file that is read or written, bytes.
const FILE_BYTES_MAX: u64 = 8 * 1024 * 1024;

/// Does what is wanted; the answer to request `id`.
pub async fn serve(folder: &Path, id: Value, path: String, wanted: Wanted) -> Value {
    let folder = folder.to_owned();
    let done = tokio::task::spawn_blocking(move || serve_now(&folder, &path, wanted)).await;
    match done.unwrap_or_else(|_| Err((rpc::NOT_FOUND, "the work on the file was cut off".to_owned()))) {
        Ok(result) => rpc::answer(&id, &result),
        Err((code, message)) => rpc::refusal(&id, code, &message),
    }
}

fn serve_now(folder: &Path, path: &str, wanted: Wanted) -> Result<Value, (i64, String)> {
    let below = below(folder, path).map_err(|message| (rpc::BAD_PARAMS, message))?;
    let failed = |error: io::Error| {
        let code = if error.kind() == io::ErrorKind::NotFound { rpc::NOT_FOUND } else { rpc::BAD_PARAMS };
        let why =
            if beneath::is_link(&error) { "a link is in its path".to_owned() } else { error.to_string() };
        (code, format!("{path}: {why}"))
    };
    match wanted {
        Wanted::Read { line, limit } => {
            let text = read(folder, &below).map_err(failed)?;
            Ok(json!({"content": lines(&text, line, limit)}))
        }
        Wanted::Write { text } => {
            write(folder, &below, text.as_bytes()).map_err(failed)?;
            Ok(json!({}))
        }
    }
}

/// The path below the folder; protocols name files by their whole path.
fn below(folder: &Path, path: &str) -> Result<String, String> {
    let outside = || format!("{path} is not below the working folder {}", folder.display());
    let given = Path::new(path);
    let rest = if given.is_absolute() { given.strip_prefix(folder).map_err(|_| outside())? } else { given };
    let mut segments = Vec::new();
    for part in rest.components() {
        match part {
            std::path::Component::Normal(name) => segments.push(name.to_str().ok_or_else(outside)?),
            std::path::Component::CurDir => {}
            _ => return Err(outside()),
        }
    }
    if segments.is_empty() { Err(format!("{path} is no file")) } else { Ok(segments.join("/")) }
}

fn read(folder: &Path, below: &str) -> io::Result<String> {
    // What is no file could be waited for without end.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK;
    let file = File::from(beneath::open(folder, below, flags)?);
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is no file"));
    }
    let mut data = Vec::new();
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut data)?;
    if data.len() as u64 > FILE_BYTES_MAX {
        return Err(io::Error::other(format!("it has more than {FILE_BYTES_MAX} bytes")));
    }
    String::from_utf8(data).map_err(|_| io::Error::other("it is no UTF-8 text"))
}

fn write(folder: &Path, below: &str, data: &[u8]) -> io::Result<()> {
    if data.len() as u64 > FILE_BYTES_MAX {
        return Err(io::Error::other(format!("a file of more than {FILE_BYTES_MAX} bytes is not written")));
    }
    let (parent, name) = below.rsplit_once('/').unwrap_or(("", below));
    let held = beneath::make(folder, parent)?;
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let flags = i32::try_from(flags.bits()).unwrap_or_default();
    let mut file = OpenOptions::new().write(true).create(true).custom_flags(flags).open(held.join(name))?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is no file"));
    }
    file.set_len(0)?;
    file.write_all(data)
}

/// Some lines of a text; the first is number 1.
fn lines(text: &str, line: Option<u64>, limit: Option<u64>) -> String {
    if line.is_none() && limit.is_none() {
        return text.to_owned();
    }
    let skip = usize::try_from(line.unwrap_or(1).saturating_sub(1)).unwrap_or(usize::MAX);
    let most = limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
    text.split_inclusive('\n').skip(skip).take(most).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn desk() -> (tempfile::TempDir, std::path::PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("work");
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(dir.path().join("secret"), "key").unwrap();
        std::fs::write(folder.join("a.txt"), "one\ntwo\nthree\n").unwrap();
        symlink(dir.path(), folder.join("out")).unwrap();
        symlink("../secret", folder.join("link")).unwrap();
        (dir, folder)
    }

    fn got(folder: &Path, path: &str, wanted: Wanted) -> Result<Value, String> {
        serve_now(folder, path, wanted).map_err(|(_, message)| message)
    }

    #[test]
    fn files_of_the_folder_are_read_and_written() {
        let (_dir, folder) = desk();
        let whole = folder.join("a.txt").display().to_string();
        let read = |line, limit| Wanted::Read { line, limit };
        assert_eq!(got(&folder, &whole, read(None, None)).unwrap()["content"], "one\ntwo\nthree\n");
        assert_eq!(got(&folder, "a.txt", read(Some(2), Some(1))).unwrap()["content"], "two\n");
        assert_eq!(got(&folder, "a.txt", read(Some(9), None)).unwrap()["content"], "");
        let new = folder.join("x/y.txt").display().to_string();
        got(&folder, &new, Wanted::Write { text: "new".into() }).unwrap();
        assert_eq!(std::fs::read_to_string(folder.join("x/y.txt")).unwrap(), "new");
        got(&folder, &whole, Wanted::Write { text: "1".into() }).unwrap();
        assert_eq!(std::fs::read_to_string(folder.join("a.txt")).unwrap(), "1");
    }

    #[test]
    fn nothing_outside_is_read_or_written() {
        let (dir, folder) = desk();
        let outside = dir.path().join("secret").display().to_string();
        let up = format!("{}/../secret", folder.display());
        for path in ["/etc/passwd", &outside, &up, "../secret", "link", "out/secret", "", ".", "out"] {
            got(&folder, path, Wanted::Read { line: None, limit: None }).unwrap_err();
            got(&folder, path, Wanted::Write { text: "mine".into() }).unwrap_err();
        }
        assert_eq!(std::fs::read_to_string(dir.path().join("secret")).unwrap(), "key");
        std::fs::write(folder.join("b"), [0xff, 0xfe]).unwrap();
        assert!(got(&folder, "b", Wanted::Read { line: None, limit: None }).unwrap_err().contains("UTF-8"));
        assert!(got(&folder, "none", Wanted::Read { line: None, limit: None }).unwrap_err().contains("none"));
    }
}
