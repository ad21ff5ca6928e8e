//! Where documents come from: files, folders, URLs, stdin, and what overlays change of them.

use super::overlay;
use crate::cli::error::CliError;
use crate::cli::{documents, secret_values};
use crate::client::rest::PlanRequest;
use serde_json::Value;
use std::path::PathBuf;

/// The flags of commands that plan.
#[derive(Debug, clap::Args)]
pub struct SourceArgs {
    /// File, folder (its .yaml, .yml and .json files), URL, or `-` for stdin; may be given several times
    #[arg(short, long = "file", value_name = "FILE|DIR|URL|-")]
    files: Vec<PathBuf>,
    /// Folder or file of partial documents laid over those with the same kind and name; may be given several times
    #[arg(long, value_name = "DIR")]
    overlay: Vec<PathBuf>,
    /// Room of the documents that do not say theirs
    #[arg(short, long, value_name = "ROOM")]
    room: Option<String>,
    /// Who keeps these documents, such as a repository; what it holds, others change only by force
    #[arg(long, value_name = "NAME", default_value = "cli")]
    source: String,
    /// Delete what this source applied before and has no document any more
    #[arg(long)]
    prune: bool,
    /// Take fields that other sources hold
    #[arg(long)]
    force_conflicts: bool,
    /// Delete and make anew what cannot be changed in place
    #[arg(long)]
    replace: bool,
}

/// Documents with the places they were written at.
#[derive(Debug)]
pub struct Sources {
    pub values: Vec<Value>,
    /// File and line of each.
    pub places: Vec<(String, usize)>,
}

impl SourceArgs {
    /// Reads everything, and refuses what is wrong in itself.
    pub async fn read(&self) -> Result<Sources, CliError> {
        if self.files.is_empty() {
            return Err(
                CliError::usage("no documents are named").hint("pass -f FILE, -f DIR, -f URL or -f -")
            );
        }
        let written = documents::parse(&documents::read(&self.files).await?)?;
        let places = written.iter().map(|one| (one.source.clone(), one.line)).collect();
        let values = written.into_iter().map(|one| one.value).collect();
        let mut sources = Sources { values, places };
        for folder in &self.overlay {
            let texts = documents::read(std::slice::from_ref(folder)).await?;
            overlay::lay(&mut sources, &texts)?;
        }
        Ok(sources)
    }

    /// What the server is asked, with the values of secrets that are read here.
    pub fn request(&self, sources: &Sources) -> Result<PlanRequest, CliError> {
        let places = sources.places.iter().map(|(source, _)| source.as_str());
        Ok(PlanRequest {
            documents: sources.values.clone(),
            values: secret_values::read(sources.values.iter().zip(places))?,
            source: self.source.clone(),
            room: self.room.clone(),
            prune: self.prune,
            force: self.force_conflicts,
            replace: self.replace,
            expected: None,
        })
    }
}
