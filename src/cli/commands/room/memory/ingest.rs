//! The `ingest-…` commands.

use super::{Print, Which};
use crate::cli::args;
use crate::cli::error::CliError;
use crate::cli::resolve::Ctx;
use crate::client::room::Reading;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// Largest picture, bytes.
const IMAGE_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// How a text is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Strategy {
    /// By rules, on the server, without any model
    Heuristic,
    /// By the model that the server is configured with
    Llm,
}

#[derive(Debug, clap::Args)]
pub struct How {
    #[command(flatten)]
    which: Which,
    /// How the text is read
    #[arg(long, value_enum, default_value = "heuristic")]
    strategy: Strategy,
    /// Model for --strategy llm
    #[arg(long)]
    llm_model: Option<String>,
    /// Temperature for --strategy llm
    #[arg(long)]
    llm_temperature: Option<f64>,
    #[command(flatten)]
    print: Print,
}

impl How {
    async fn run(&self, ctx: &Ctx, tool: &str, input: Value) -> Result<(), CliError> {
        let reading = Reading {
            llm: self.strategy == Strategy::Llm,
            model: self.llm_model.clone(),
            temperature: self.llm_temperature,
        };
        let room = self.which.enter(ctx).await?;
        self.print.json(&self.which.of(&room).ingest(tool, input, &reading).await?)
    }
}

#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("content").required(true))]
pub struct Text {
    #[command(flatten)]
    how: How,
    /// The text
    #[arg(long, group = "content")]
    text: Option<String>,
    /// File with the text; `-` is stdin
    #[arg(short, long, value_name = "FILE", group = "content")]
    file: Option<PathBuf>,
}

impl Text {
    pub async fn run(self, ctx: &Ctx) -> Result<(), CliError> {
        let text = given(self.text, self.file.as_deref())?;
        self.how.run(ctx, "ingest_text", json!({"text": text})).await
    }
}

fn given(text: Option<String>, file: Option<&Path>) -> Result<Option<String>, CliError> {
    match (text, file) {
        (None, Some(file)) => args::read_text(file).map(Some),
        (text, _) => Ok(text),
    }
}

#[derive(Debug, clap::Args)]
pub struct Image {
    #[command(flatten)]
    how: How,
    /// The picture
    #[arg(short, long, value_name = "FILE", required_unless_present = "caption")]
    file: Option<PathBuf>,
    /// What it shows
    #[arg(long)]
    caption: Option<String>,
    /// Its type, such as image/png [default: by the file's name]
    #[arg(long)]
    mime_type: Option<String>,
    /// Name of the source [default: the file's path]
    #[arg(long)]
    source: Option<String>,
    /// JSON object of texts, such as {"origin": "camera"}
    #[arg(long, value_name = "JSON", value_parser = args::annotations)]
    annotations_json: Option<std::collections::BTreeMap<String, String>>,
}

impl Image {
    pub async fn run(self, ctx: &Ctx) -> Result<(), CliError> {
        let data = self.file.as_deref().map(picture).transpose()?;
        let path = self.file.as_ref().map(|file| file.display().to_string());
        let guessed = || Some(mime_guess::from_path(self.file.as_ref()?).first()?.to_string());
        let input = json!({
            "caption": self.caption,
            "data_base64": data.map(|data| BASE64.encode(data)),
            "mime_type": self.mime_type.clone().or_else(guessed),
            "source": self.source.clone().or(path),
            "annotations_json": self.annotations_json.as_ref().map(|all| json!(all).to_string()),
        });
        self.how.run(ctx, "ingest_image", input).await
    }
}

fn picture(path: &Path) -> Result<Vec<u8>, CliError> {
    let failed = |error: std::io::Error| CliError::user(format!("cannot read {}: {error}", path.display()));
    let size = std::fs::metadata(path).map_err(failed)?.len();
    if size > IMAGE_BYTES_MAX {
        return Err(CliError::user(format!("{} is larger than 16 MiB", path.display())));
    }
    std::fs::read(path).map_err(failed)
}

#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("content").required(true).multiple(true))]
pub struct File {
    #[command(flatten)]
    how: How,
    /// Path in the room's storage; with a text, the name of its source
    #[arg(long, group = "content")]
    path: Option<String>,
    /// The file's text
    #[arg(long, group = "content")]
    text: Option<String>,
    /// File on this machine with the text; `-` is stdin
    #[arg(long, value_name = "FILE", group = "content", conflicts_with = "text")]
    text_file: Option<PathBuf>,
    /// Its type, such as text/markdown
    #[arg(long)]
    mime_type: Option<String>,
}

impl File {
    pub async fn run(self, ctx: &Ctx) -> Result<(), CliError> {
        let text = given(self.text, self.text_file.as_deref())?;
        let input = json!({"path": self.path, "text": text, "mime_type": self.mime_type});
        self.how.run(ctx, "ingest_file", input).await
    }
}

#[derive(Debug, clap::Args)]
pub struct FromTable {
    #[command(flatten)]
    how: How,
    /// The dataset
    #[arg(short, long)]
    table: String,
    /// Column with text; may be given several times [default: all columns of text]
    #[arg(long = "text-column", value_name = "COLUMN")]
    text_columns: Vec<String>,
    /// Segment of the dataset's namespace; may be given several times
    #[arg(long, value_name = "SEGMENT")]
    table_namespace: Vec<String>,
    /// Rows to read at most
    #[arg(long)]
    limit: Option<u64>,
}

impl FromTable {
    pub async fn run(self, ctx: &Ctx) -> Result<(), CliError> {
        let some = |list: Vec<String>| (!list.is_empty()).then_some(list);
        let input = json!({
            "table": self.table,
            "text_columns": some(self.text_columns),
            "table_namespace": some(self.table_namespace),
            "limit": self.limit,
        });
        self.how.run(ctx, "ingest_from_table", input).await
    }
}

#[derive(Debug, clap::Args)]
pub struct FromStorage {
    #[command(flatten)]
    how: How,
    /// File of the room's storage; may be given several times
    #[arg(short, long = "path", value_name = "PATH", required = true)]
    paths: Vec<String>,
}

impl FromStorage {
    pub async fn run(self, ctx: &Ctx) -> Result<(), CliError> {
        self.how.run(ctx, "ingest_from_storage", json!({"paths": self.paths})).await
    }
}
