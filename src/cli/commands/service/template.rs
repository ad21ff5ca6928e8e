//! Services from templates. The server renders; nothing is rendered here.

use super::write::{self, Existing, logical_id, put_service, same};
use super::{ScopeArgs, find, id, name};
use crate::cli::args;
use crate::cli::error::CliError;
use crate::cli::output;
use crate::client::rest::{ProjectRest, Rest, ServiceBody};
use serde_json::{Map, Value};
use std::path::PathBuf;

/// A template and its values.
#[derive(Debug, clap::Args)]
pub struct TemplateSource {
    #[command(flatten)]
    source: write::Source,
    /// YAML or JSON file of values
    #[arg(long, value_name = "FILE")]
    values_file: Option<PathBuf>,
    /// One value; may be given several times, and wins over the file
    #[arg(short, long = "value", value_name = "KEY=VALUE", value_parser = args::key_value)]
    values: Vec<(String, String)>,
}

#[derive(Debug, clap::Args)]
pub struct Create {
    #[command(flatten)]
    source: TemplateSource,
    #[command(flatten)]
    scope: ScopeArgs,
    #[command(flatten)]
    existing: Existing,
}

#[derive(Debug, clap::Args)]
pub struct Update {
    #[command(flatten)]
    source: TemplateSource,
    #[command(flatten)]
    scope: ScopeArgs,
    /// Id or name of the service to replace [default: the one with the template's logical id or name]
    #[arg(long)]
    id: Option<String>,
    /// Make the service if it is not there
    #[arg(long, overrides_with = "no_create")]
    create: bool,
    #[arg(long, hide = true)]
    no_create: bool,
    #[command(flatten)]
    existing: Existing,
}

/// A template's text, its values, and what the server made of them.
struct Rendered {
    template: String,
    values: Map<String, Value>,
    document: Value,
}

impl Rendered {
    fn body(self) -> ServiceBody {
        ServiceBody::Template { template: self.template, values: self.values }
    }
}

impl TemplateSource {
    fn values(&self) -> Result<Map<String, Value>, CliError> {
        let mut values = Map::new();
        if let Some(path) = &self.values_file {
            let text = args::read_text(path)?;
            let read: Map<String, Value> = serde_yaml::from_str(&text).map_err(|error| {
                CliError::user(format!("{} is not a map of values: {error}", path.display()))
            })?;
            for (key, value) in read {
                let text = match value {
                    Value::String(text) => text,
                    other => other.to_string(),
                };
                values.insert(key, text.into());
            }
        }
        values.extend(self.values.iter().map(|(key, value)| (key.clone(), Value::from(value.clone()))));
        Ok(values)
    }

    async fn render(&self, rest: &Rest) -> Result<Rendered, CliError> {
        let (name, template) = self.source.text().await?;
        let values = self.values()?;
        let document = rest.render_template(&template, &Value::Object(values.clone())).await;
        let document = document.map_err(|error| match error.status() {
            Some(400) => {
                let message = error.server_message().unwrap_or_default();
                CliError::user(format!("{name}: {message}")).hint("give values with --value KEY=VALUE")
            }
            _ => error.into(),
        })?;
        Ok(Rendered { template, values, document })
    }
}

pub async fn validate(rest: &Rest, source: TemplateSource) -> Result<(), CliError> {
    let rendered = source.render(rest).await?;
    output::note(format!("Service template {} is valid.", name(&rendered.document)));
    Ok(())
}

pub async fn render(rest: &Rest, source: TemplateSource) -> Result<(), CliError> {
    output::data(&write::yaml(&source.render(rest).await?.document)?)
}

pub async fn create(project: &ProjectRest, args: Create) -> Result<(), CliError> {
    let rendered = args.source.render(project.rest()).await?;
    let scope = args.scope.scope();
    let existing = args.existing.resolve(project, &scope, logical_id(&rendered.document)).await?;
    output::line(put_service(project, &scope, existing.as_deref(), &rendered.body()).await?)
}

pub async fn update(project: &ProjectRest, args: Update) -> Result<(), CliError> {
    let rendered = args.source.render(project.rest()).await?;
    let scope = args.scope.scope();
    let target = match &args.id {
        Some(wanted) => Some(id(&find(project, &scope, wanted).await?).to_owned()),
        None => same(&project.services(&scope).await?, &rendered.document),
    };
    if target.is_none() && !args.create {
        return Err(write::missing(name(&rendered.document)));
    }
    let target = target.filter(|_| !args.existing.force());
    output::line(put_service(project, &scope, target.as_deref(), &rendered.body()).await?)
}
