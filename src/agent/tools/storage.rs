//! Toolkit `storage`: files. Text in, text out; a binary file is described, not shown.

use super::files::{Entry, FILE_BYTES_MAX, Files};
use super::web_fetch;
use super::{CallContext, OUTPUT_BYTES_MAX, Tool, ToolError, ToolOutput, ToolSpec, arguments, spec};
use crate::net::guard::Allowed;
use regex::RegexBuilder;
use serde::Deserialize;
use serde_json::{Value, json};
use std::fmt::Write;
use std::sync::Arc;

/// Memory a pattern's program may take, bytes.
const PATTERN_BYTES_MAX: usize = 1024 * 1024;
/// Lines around a match that may be asked for.
const CONTEXT_LINES_MAX: usize = 50;

/// The tools of `--storage`; without `write` those of `--read-only-storage`.
pub fn storage(files: &Files, write: bool, allowed: &Allowed) -> Vec<Arc<dyn Tool>> {
    let path =
        json!({"type": "string", "description": "path in the room's storage, for example reports/today.md"});
    let number = |what: &str| json!({"type": ["integer", "null"], "description": what});
    let text = |what: &str| json!({"type": "string", "description": what});
    let mut specs = vec![
        (
            Op::List,
            spec(
                "storage",
                "list_files_in_room",
                "Lists the files and folders in a folder of the room.",
                json!({"path": text("folder; empty for the top")}),
            ),
        ),
        (
            Op::Read,
            spec(
                "storage",
                "read_file",
                "Reads a text file of the room.",
                json!({"path": path, "offset": number("character to begin at; null is 0")}),
            ),
        ),
        (
            Op::Grep,
            spec(
                "storage",
                "grep_file",
                "Finds the lines of a text file of the room that match a regular expression.",
                json!({"path": path, "pattern": text("regular expression"), "offset": number("character to begin at"),
                    "before": number("lines to show before a match"), "after": number("lines to show after a match")}),
            ),
        ),
    ];
    if write {
        let overwrite =
            json!({"type": ["boolean", "null"], "description": "replace an existing file; null is false"});
        let properties = json!({"path": path, "text": text("the whole new content"), "overwrite": overwrite});
        specs.push((Op::Write, spec("storage", "write_file", "Writes a text file in the room.", properties)));
        let properties =
            json!({"url": text("address of a file on the web"), "path": path, "overwrite": overwrite});
        let about = "Saves a file of the web in the room.";
        specs.push((Op::Save, spec("storage", "save_file_from_url", about, properties)));
    }
    let tool = |(op, spec)| {
        Arc::new(StorageTool { op, spec, files: files.clone(), allowed: allowed.clone() }) as Arc<dyn Tool>
    };
    specs.into_iter().map(tool).collect()
}

#[derive(Clone, Copy)]
enum Op {
    List,
    Read,
    Grep,
    Write,
    Save,
}

struct StorageTool {
    op: Op,
    spec: ToolSpec,
    files: Files,
    /// Hosts within this network that files may be saved from.
    allowed: Allowed,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    #[serde(default)]
    path: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Read {
    path: String,
    offset: Option<usize>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Grep {
    path: String,
    pattern: String,
    offset: Option<usize>,
    before: Option<usize>,
    after: Option<usize>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WriteFile {
    path: String,
    text: String,
    overwrite: Option<bool>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SaveFile {
    url: String,
    path: String,
    overwrite: Option<bool>,
}

#[async_trait::async_trait]
impl Tool for StorageTool {
    fn spec(&self) -> &ToolSpec {
        &self.spec
    }

    async fn run(&self, given: Value, _: &CallContext) -> Result<ToolOutput, ToolError> {
        let text: Result<String, ToolError> = match self.op {
            Op::List => self.list(&arguments::<List>(given)?.path).await,
            Op::Read => {
                let Read { path, offset } = arguments(given)?;
                let text = self.files.text(&path).await?;
                Ok(page(&text, offset.unwrap_or(0)))
            }
            Op::Grep => {
                let wanted: Grep = arguments(given)?;
                Ok(grep(&self.files.text(&wanted.path).await?, &wanted)?)
            }
            Op::Write => {
                let WriteFile { path, text, overwrite } = arguments(given)?;
                let size = text.len();
                self.files.write(&path, text.into_bytes(), overwrite.unwrap_or(false)).await?;
                Ok(format!("wrote {size} bytes to {}", path.trim_start_matches('/')))
            }
            Op::Save => {
                let SaveFile { url, path, overwrite } = arguments(given)?;
                let page = web_fetch::load(&url, &self.allowed, FILE_BYTES_MAX).await?;
                if page.cut {
                    return Err(format!("the file has more than {FILE_BYTES_MAX} bytes").into());
                }
                let size = page.bytes.len();
                self.files.write(&path, page.bytes, overwrite.unwrap_or(false)).await?;
                Ok(format!("saved {size} bytes to {}", path.trim_start_matches('/')))
            }
        };
        text.map(ToolOutput::from)
    }
}

impl StorageTool {
    async fn list(&self, path: &str) -> Result<String, ToolError> {
        let line = |e: &Entry| match (e.is_folder, e.size) {
            (true, _) => format!("{}/\n", e.name),
            (false, Some(size)) => format!("{} ({size} bytes)\n", e.name),
            (false, None) => format!("{}\n", e.name),
        };
        let text: String = self.files.list(path).await?.iter().map(line).collect();
        Ok(if text.is_empty() { "the folder is empty".into() } else { text })
    }
}

/// As much from character `offset` as one output holds, and where to go on.
fn page(text: &str, offset: usize) -> String {
    let start = text.char_indices().nth(offset).map_or(text.len(), |(at, _)| at);
    let rest = text.get(start..).unwrap_or_default();
    // Room for the notice below.
    let max = OUTPUT_BYTES_MAX - 256;
    if rest.len() <= max {
        return rest.to_owned();
    }
    let mut end = max;
    while !rest.is_char_boundary(end) {
        end -= 1;
    }
    let shown = rest.get(..end).unwrap_or_default();
    let next = offset + shown.chars().count();
    format!("{shown}\n[… the file goes on; read it from offset {next}]")
}

/// The matching lines with their numbers, those around them, and `--` between groups.
fn grep(text: &str, arguments: &Grep) -> Result<String, String> {
    let pattern = RegexBuilder::new(&arguments.pattern)
        .size_limit(PATTERN_BYTES_MAX)
        .build()
        .map_err(|e| format!("the pattern is not valid: {e}"))?;
    let start = text.char_indices().nth(arguments.offset.unwrap_or(0)).map_or(text.len(), |(at, _)| at);
    let (skipped, rest) = text.split_at(start);
    let first = skipped.matches('\n').count() + 1;
    let lines: Vec<_> = rest.lines().collect();
    let before = arguments.before.unwrap_or(0).min(CONTEXT_LINES_MAX);
    let after = arguments.after.unwrap_or(0).min(CONTEXT_LINES_MAX);
    let mut out = String::new();
    let mut shown_to = 0;
    for (at, _) in lines.iter().enumerate().filter(|(_, line)| pattern.is_match(line)) {
        let from = at.saturating_sub(before).max(shown_to);
        let to = (at + after + 1).min(lines.len());
        if from > shown_to && shown_to > 0 {
            out.push_str("--\n");
        }
        for (n, line) in lines.iter().enumerate().take(to).skip(from) {
            // Writing to a text cannot fail.
            let _ = writeln!(out, "{}: {line}", first + n);
        }
        shown_to = shown_to.max(to);
    }
    Ok(if out.is_empty() { "no line matches".into() } else { out })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::room::{Options, RoomClient, Token, fake::FakeRoom};

    async fn tools(room: &FakeRoom, write: bool) -> Vec<Arc<dyn Tool>> {
        let client = RoomClient::connect(Options::new(room.url.clone(), Token::new("good"))).await.unwrap();
        storage(&Files::new(&client, &[]), write, &Allowed::new(["127.0.0.1".to_owned()]))
    }

    async fn run(tools: &[Arc<dyn Tool>], tool: &str, arguments: Value) -> Result<String, String> {
        let tool = tools.iter().find(|t| t.spec().tool == tool).unwrap();
        let call = CallContext::new("t", "u", "i");
        tool.run(arguments, &call).await.map(|output| output.text).map_err(|e| e.to_string())
    }

    #[tokio::test]
    async fn files_are_written_read_listed_and_searched() {
        let room = FakeRoom::start().await;
        let tools = tools(&room, true).await;
        let write =
            |text: &str, overwrite: bool| json!({"path": "/a/b.md", "text": text, "overwrite": overwrite});
        let written = run(&tools, "write_file", write("one\ntwo\nthree\n", false)).await.unwrap();
        assert_eq!(written, "wrote 14 bytes to a/b.md");
        let again = run(&tools, "write_file", write("x", false)).await.unwrap_err();
        assert!(again.contains("overwrite: true"), "{again}");
        assert_eq!(
            run(&tools, "read_file", json!({"path": "a/b.md", "offset": 4})).await.unwrap(),
            "two\nthree\n"
        );
        assert_eq!(
            run(&tools, "list_files_in_room", json!({"path": "a"})).await.unwrap(),
            "b.md (14 bytes)\n"
        );
        let grep = json!({"path": "a/b.md", "pattern": "^t", "before": 1});
        assert_eq!(run(&tools, "grep_file", grep).await.unwrap(), "1: one\n2: two\n3: three\n");
        let bad = run(&tools, "grep_file", json!({"path": "a/b.md", "pattern": "("})).await.unwrap_err();
        assert!(bad.contains("pattern is not valid"), "{bad}");
        for path in ["../x", "", "a/../../b"] {
            let error = run(&tools, "read_file", json!({"path": path})).await.unwrap_err();
            assert!(error.contains("no path in the room"), "{error}");
        }
        let missing = run(&tools, "read_file", json!({"path": "nope"})).await.unwrap_err();
        assert!(missing.contains("no such file"), "{missing}");
    }

    #[tokio::test]
    async fn a_file_of_the_web_is_saved_and_what_is_not_to_be_read_is_not() {
        let room = FakeRoom::start().await;
        let tools = tools(&room, true).await;
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/logo.bin", listener.local_addr().unwrap());
        let router =
            axum::Router::new().route("/logo.bin", axum::routing::get(|| async { vec![0xff_u8, 1] }));
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        let save = |url: &str| json!({"url": url, "path": "logo.bin", "overwrite": null});
        let saved = run(&tools, "save_file_from_url", save(&url)).await.unwrap();
        assert_eq!(saved, "saved 2 bytes to logo.bin");
        assert_eq!(room.with(|w| w.files["logo.bin"].clone()), vec![0xff, 1]);
        assert!(run(&tools, "save_file_from_url", save(&url)).await.unwrap_err().contains("overwrite: true"));
        for bad in ["http://169.254.169.254/x", "file:///etc/passwd", "nowhere"] {
            assert!(run(&tools, "save_file_from_url", save(bad)).await.is_err(), "{bad}");
        }
    }

    #[tokio::test]
    async fn read_only_storage_cannot_write_and_binary_is_described() {
        let room = FakeRoom::start().await;
        room.with(|w| w.files.insert("x.bin".into(), vec![0xff, 0xfe].into()));
        let tools = tools(&room, false).await;
        assert!(tools.iter().all(|t| t.spec().tool != "write_file"));
        let error = run(&tools, "read_file", json!({"path": "x.bin"})).await.unwrap_err();
        assert!(error.contains("binary file"), "{error}");
    }

    #[test]
    fn a_long_file_is_paged() {
        let text = "ä".repeat(OUTPUT_BYTES_MAX);
        let first = page(&text, 0);
        assert!(first.len() <= OUTPUT_BYTES_MAX);
        let next: usize = first.rsplit_once("offset ").unwrap().1.trim_end_matches(']').parse().unwrap();
        let second = page(&text, next);
        assert!(second.starts_with('ä') && next > 0);
    }

    #[test]
    fn distant_matches_are_separated() {
        let text = "a\nb\nc\nd\ne\na\n";
        let wanted =
            Grep { path: String::new(), pattern: "a".into(), offset: None, before: None, after: Some(1) };
        assert_eq!(grep(text, &wanted).unwrap(), "1: a\n2: b\n--\n6: a\n");
    }
}
