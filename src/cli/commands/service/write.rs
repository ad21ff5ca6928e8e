//! Services from documents: made, replaced, checked, printed.

use super::{ScopeArgs, find, id, name};
use crate::cli::documents;
use crate::cli::error::CliError;
use crate::cli::output;
use crate::cli::resolve::Ctx;
use crate::client::rest::{ProjectRest, ServiceBody, ServiceScope};
use crate::spec::{Document, SERVICE_ID, Service, ServiceTemplate};
use serde_json::Value;
use std::path::PathBuf;

/// Where a document is read from: `--file` or `--url`.
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("source").required(true))]
pub struct Source {
    /// File with the document; `-` is stdin
    #[arg(short, long, value_name = "FILE", group = "source")]
    file: Option<PathBuf>,
    /// URL of the document
    #[arg(long, group = "source")]
    url: Option<String>,
}

impl Source {
    /// The text and the name by which messages call it.
    pub async fn text(&self) -> Result<documents::Text, CliError> {
        let place = self.file.clone().or_else(|| self.url.as_ref().map(PathBuf::from));
        let place = place.ok_or_else(|| CliError::usage("pass --file FILE or --url URL"))?;
        if place.is_dir() {
            return Err(CliError::user(format!("{} is a folder", place.display()))
                .hint("name the file; `meshagent apply -f` takes folders"));
        }
        let mut texts = documents::read(&[place]).await?;
        texts.pop().ok_or_else(|| CliError::user("there is nothing to read"))
    }

    async fn service(&self) -> Result<Service, CliError> {
        let text = self.text().await?;
        let mut documents = documents::parse(std::slice::from_ref(&text))?;
        let (Some(written), true) = (documents.pop(), documents.is_empty()) else {
            return Err(CliError::user(format!("{} does not hold exactly one document", text.0))
                .hint("`meshagent apply -f` takes several"));
        };
        match written.document {
            Document::Service(service) => Ok(service),
            Document::ServiceTemplate(_) => Err(CliError::user(format!("{} is a ServiceTemplate", text.0))
                .hint("use `meshagent service create-template` or `update-template`")),
            other => Err(CliError::user(format!("{} is a {}, not a Service", text.0, other.kind()))
                .hint("`meshagent apply -f` takes documents of every kind")),
        }
    }
}

/// What a service is made of: a document, or a tool server elsewhere that says what it is.
#[derive(Debug, clap::Args)]
pub struct ServiceSource {
    #[command(flatten)]
    document: Source,
    /// URL of a tool server (model context protocol); the server makes the document of what that says of itself
    #[arg(long, value_name = "URL", group = "source")]
    mcp: Option<String>,
}

impl ServiceSource {
    async fn service(&self, ctx: &Ctx, service_id: Option<&str>) -> Result<Service, CliError> {
        let mut service: Service = match &self.mcp {
            Some(url) => serde_json::from_value(ctx.rest()?.discover_mcp(url).await?)?,
            None => self.document.service().await?,
        };
        if let Some(id) = service_id {
            service.annotations_mut().insert(SERVICE_ID.to_owned(), id.to_owned());
        }
        Ok(service)
    }
}

/// Kind of document that is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Kind {
    Service,
    Template,
}

#[derive(Debug, clap::Args)]
pub struct Spec {
    #[command(flatten)]
    source: ServiceSource,
    /// Kind of document to print
    #[arg(long, value_enum, default_value = "service", value_name = "KIND")]
    format: Kind,
    /// Logical id to put into the document (annotation meshagent.service.id)
    #[arg(long, value_name = "ID")]
    service_id: Option<String>,
}

#[derive(Debug, clap::Args)]
pub struct Validate {
    #[command(flatten)]
    source: Source,
}

/// What to do where the service is there already.
#[derive(Debug, Clone, Copy, clap::Args)]
pub struct Existing {
    /// Make another service although one has the same logical id
    #[arg(long, conflicts_with = "replace")]
    force: bool,
    /// Replace the service that has the same logical id
    #[arg(long)]
    replace: bool,
}

#[derive(Debug, clap::Args)]
pub struct Create {
    #[command(flatten)]
    source: ServiceSource,
    #[command(flatten)]
    scope: ScopeArgs,
    /// Logical id to put into the document (annotation meshagent.service.id)
    #[arg(long, value_name = "ID")]
    service_id: Option<String>,
    #[command(flatten)]
    existing: Existing,
}

#[derive(Debug, clap::Args)]
pub struct Update {
    #[command(flatten)]
    source: ServiceSource,
    #[command(flatten)]
    scope: ScopeArgs,
    /// Id or name of the service to replace [default: the one with the document's logical id or name]
    #[arg(long)]
    id: Option<String>,
    /// Make the service if it is not there
    #[arg(long, overrides_with = "no_create")]
    create: bool,
    #[arg(long, hide = true)]
    no_create: bool,
    /// Logical id to put into the document (annotation meshagent.service.id)
    #[arg(long, value_name = "ID")]
    service_id: Option<String>,
    #[command(flatten)]
    existing: Existing,
}

pub async fn spec(ctx: &Ctx, args: Spec) -> Result<(), CliError> {
    let service = args.source.service(ctx, args.service_id.as_deref()).await?;
    if args.format == Kind::Service {
        return output::data(&yaml(&service)?);
    }
    output::data(&yaml(&template(service)?)?)
}

/// The same as a template without variables.
fn template(service: Service) -> Result<ServiceTemplate, CliError> {
    let mut document = serde_json::to_value(service)?;
    document["kind"] = "ServiceTemplate".into();
    if let Some(fields) = document.as_object_mut() {
        fields.retain(|name, _| !matches!(name.as_str(), "id" | "enabled"));
    }
    serde_json::from_value(document)
        .map_err(|error| CliError::user(format!("this service cannot be a template: {error}")))
}

pub async fn validate(args: Validate) -> Result<(), CliError> {
    let service = args.source.service().await?;
    output::note(format!("Service {} is valid.", service.metadata.name));
    Ok(())
}

/// A document as YAML text.
pub fn yaml(document: &impl serde::Serialize) -> Result<String, CliError> {
    serde_yaml::to_string(document)
        .map_err(|error| CliError::internal(format!("cannot write this as YAML: {error}")))
}

pub async fn create(ctx: &Ctx, args: Create) -> Result<(), CliError> {
    let (project, service) = (&ctx.project()?, args.source.service(ctx, args.service_id.as_deref()).await?);
    if service.id.is_some() {
        return Err(CliError::user("a new service has no `id`; the server gives it")
            .hint("remove `id:` from the document, or use `meshagent service update`"));
    }
    let scope = args.scope.scope();
    let body = serde_json::to_value(&service)?;
    let existing = args.existing.resolve(project, &scope, logical_id(&body)).await?;
    output::line(put_service(project, &scope, existing.as_deref(), &ServiceBody::Spec(body)).await?)
}

pub async fn update(ctx: &Ctx, args: Update) -> Result<(), CliError> {
    let (project, service) = (&ctx.project()?, args.source.service(ctx, args.service_id.as_deref()).await?);
    let scope = args.scope.scope();
    let body = serde_json::to_value(&service)?;
    let target = match &args.id {
        Some(wanted) => Some(id(&find(project, &scope, wanted).await?).to_owned()),
        None => same(&project.services(&scope).await?, &body),
    };
    if target.is_none() && !args.create {
        return Err(missing(&service.metadata.name));
    }
    let target = target.filter(|_| !args.existing.force);
    output::line(put_service(project, &scope, target.as_deref(), &ServiceBody::Spec(body)).await?)
}

/// Not there, and `--create` was not asked for.
pub fn missing(name: &str) -> CliError {
    CliError::user(format!("there is no service `{name}` to update"))
        .hint("pass --create to make it, or --id to name the one to replace")
}

impl Existing {
    /// The id of the service to replace; none to make one. An existing one without a flag is an error.
    pub async fn resolve(
        self,
        project: &ProjectRest,
        scope: &ServiceScope,
        logical: Option<&str>,
    ) -> Result<Option<String>, CliError> {
        let Some(logical) = logical.filter(|_| !self.force) else { return Ok(None) };
        let services = project.services(scope).await?;
        let Some(found) = services.iter().find(|service| logical_id(service) == Some(logical)) else {
            return Ok(None);
        };
        if self.replace {
            return Ok(Some(id(found).to_owned()));
        }
        Err(CliError::user(format!("service `{logical}` is there already (id {})", id(found)))
            .hint("pass --replace to replace it, or --force to make another"))
    }

    pub fn force(self) -> bool {
        self.force
    }
}

/// Replaces the service of this id, or without an id makes one; answers the id.
pub async fn put_service(
    project: &ProjectRest,
    scope: &ServiceScope,
    existing: Option<&str>,
    body: &ServiceBody,
) -> Result<String, CliError> {
    if let Some(id) = existing {
        project.update_service(scope, id, body).await?;
        return Ok(id.to_owned());
    }
    match project.create_service(scope, body).await {
        Ok(service) => Ok(id(&service).to_owned()),
        Err(error) if error.is_conflict() => {
            let message =
                error.server_message().unwrap_or("a service of this name is there already").to_owned();
            Err(CliError::user(message).hint("`meshagent service update` replaces it"))
        }
        Err(error) => Err(error.into()),
    }
}

/// The id of the service with the same logical id as a document, else of the one with the same name.
pub fn same(services: &[Value], document: &Value) -> Option<String> {
    let logical = logical_id(document);
    let by_logical = services.iter().find(|service| logical.is_some() && logical_id(service) == logical);
    let by_name = || services.iter().find(|service| name(service) == name(document));
    by_logical.or_else(by_name).map(|service| id(service).to_owned())
}

/// The logical id that a service document says.
pub fn logical_id(service: &Value) -> Option<&str> {
    service["metadata"]["annotations"][SERVICE_ID].as_str()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_logical_id_beats_a_name() {
        let services = [
            json!({"id": "1", "metadata": {"name": "a"}}),
            json!({"id": "2", "metadata": {"name": "b", "annotations": {"meshagent.service.id": "x"}}}),
        ];
        let document = json!({"metadata": {"name": "a", "annotations": {"meshagent.service.id": "x"}}});
        assert_eq!(same(&services, &document).as_deref(), Some("2"));
        assert_eq!(same(&services, &json!({"metadata": {"name": "a"}})).as_deref(), Some("1"));
        assert_eq!(same(&services, &json!({"metadata": {"name": "c"}})), None);
    }
}
