//! `meshagent validate` and `meshagent schema`: documents without a server.

use crate::cli::args;
use crate::cli::documents::{self, FilesArg};
use crate::cli::error::CliError;
use crate::cli::output;
use crate::domain::template;
use crate::spec::{Kind, schema};

/// Check documents without a server: all problems of all files at once, with file, line and field.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    files: FilesArg,
    /// Value of a template variable; a ServiceTemplate is rendered with these before it is checked (without any: as it is kept)
    #[arg(short, long = "value", value_name = "KEY=VALUE", value_parser = args::key_value)]
    values: Vec<(String, String)>,
}

/// Print the JSON Schema of a kind of document; editors complete from it.
#[derive(Debug, clap::Args)]
pub struct SchemaArgs {
    /// Kind, for example Service; without it the kinds are listed
    kind: Option<String>,
}

pub async fn run(args: Args) -> Result<(), CliError> {
    let texts = documents::read(&args.files.files).await?;
    let all = if args.values.is_empty() {
        // As `apply` takes them.
        template::read_kept(&texts)
    } else {
        template::read_files(&texts, &args.values.into_iter().collect())
    };
    let all = all.map_err(|problems| documents::refuse(&problems))?;
    documents::some(&texts, &all)?;
    for written in all {
        let (kind, name) = (written.document.kind(), written.document.name());
        output::line(format!("{}:{}: {kind} {name} is valid", written.source, written.line))?;
    }
    Ok(())
}

pub fn print_schema(args: SchemaArgs) -> Result<(), CliError> {
    let Some(text) = args.kind else {
        let kinds: Vec<&str> = Kind::ALL.iter().map(|kind| kind.as_str()).collect();
        return output::line(kinds.join("\n"));
    };
    let kind = Kind::from_argument(&text).ok_or_else(|| {
        let names = Kind::ALL.iter().map(|kind| kind.as_str());
        let error = CliError::usage(format!("there is no kind of document `{text}`"));
        match args::nearest(&text, names.clone()) {
            Some(near) => error.hint(format!("did you mean `{near}`?")),
            None => error.hint(format!("there are: {}", names.collect::<Vec<_>>().join(", "))),
        }
    })?;
    output::data(&schema::to_file_text(schema::json_schema(kind)))
}
