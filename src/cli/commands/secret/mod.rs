//! `meshagent secret …`: values that agents and services use, of the caller or of a service account.

mod args;
mod authorize;

use super::super::output::{self, Format, Table};
use crate::cli::error::CliError;
use crate::cli::resolve::Ctx;
use crate::client::rest::{ProjectRest, SecretOwner, Secrets};
pub use args::Command;
use args::{About, Create, NewValue, Search};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};
use std::io::Read;

/// Largest value read from a file or stdin, bytes; the server takes less.
const VALUE_BYTES_MAX: u64 = 1024 * 1024;
const COLUMNS: [&str; 5] = ["name", "id", "type", "http_only", "current_version_id"];

pub async fn run(ctx: &Ctx, command: Command) -> Result<(), CliError> {
    let project = ctx.project()?;
    match command {
        Command::List { subject, filter, output, .. } => {
            let found = of(&project, &subject.subject).await?.list(filter.as_deref()).await?;
            list(&found, output.output)
        }
        Command::Search(search) => self::search(&project, *search).await,
        Command::Get { subject, secret_id, include_value, output } => {
            let secrets = of(&project, &subject.subject).await?;
            one(&secrets.get(&secret_id, include_value).await?, output.output)
        }
        Command::Create(create) => self::create(&project, *create).await,
        Command::Authorize(authorize) => authorize::run(&project, *authorize).await,
        Command::Update { subject, secret_id, name, r#type, http_only, not_http_only, about } => {
            let mut body = self::about(about);
            set(&mut body, "name", name.map(Value::from));
            set(&mut body, "type", r#type.map(Value::from));
            set(&mut body, "http_only", (http_only || not_http_only).then_some(Value::Bool(http_only)));
            let secrets = of(&project, &subject.subject).await?;
            secrets.update(&secret_id, &Value::Object(body)).await?;
            done("Updated secret", &secret_id);
            Ok(())
        }
        Command::Delete { subject, secret_id } => {
            of(&project, &subject.subject).await?.delete(&secret_id).await?;
            done("Deleted secret", &secret_id);
            Ok(())
        }
        Command::Rekey => {
            let rewrapped = ctx.rest()?.rekey_secrets().await?;
            output::note(format!("Sealed {rewrapped} secrets under a fresh key."));
            Ok(())
        }
        Command::Webhook => output::line(project.webhook_secret().await?),
        other => more(&project, other).await,
    }
}

/// Versions, grants and pull secrets.
async fn more(project: &ProjectRest, command: Command) -> Result<(), CliError> {
    match command {
        Command::Versions { subject, secret_id, output } => {
            let found = of(project, &subject.subject).await?.versions(&secret_id).await?;
            versions(&found, output.output)
        }
        Command::AddVersion { subject, secret_id, value, no_set_current, output, .. } => {
            let value = read(value)?.ok_or_else(|| {
                CliError::user("give the value with --value or --value-file")
                    .hint("`--value-file -` reads stdin")
            })?;
            let secrets = of(project, &subject.subject).await?;
            versions(&[secrets.add_version(&secret_id, &value, !no_set_current).await?], output.output)
        }
        Command::Access { subject, secret_id, version, output } => {
            access(&of(project, &subject.subject).await?, &secret_id, version, output.output).await
        }
        Command::DeleteVersion { subject, secret_id, version_id } => {
            of(project, &subject.subject).await?.delete_version(&secret_id, &version_id).await?;
            done("Deleted version", &version_id);
            Ok(())
        }
        Command::Grants { secret_id, output } => {
            let found = project.secrets(SecretOwner::Me).grants(&secret_id).await?;
            grants(&found, output.output)
        }
        Command::GrantProxy { secret_id, subject } => grant(project, &secret_id, &subject, true).await,
        Command::RevokeProxy { secret_id, subject } => grant(project, &secret_id, &subject, false).await,
        Command::PullSecrets { subject, output } => {
            list(&of_account(project, &subject).await?.pull_secrets().await?, output.output)
        }
        Command::AddPullSecret { subject, secret_id } => {
            of_account(project, &subject).await?.add_pull_secret(&secret_id).await?;
            done("Added pull secret", &secret_id);
            Ok(())
        }
        Command::RemovePullSecret { subject, secret_id } => {
            of_account(project, &subject).await?.remove_pull_secret(&secret_id).await?;
            done("Removed pull secret", &secret_id);
            Ok(())
        }
        _ => Ok(()),
    }
}

async fn search(project: &ProjectRest, search: Search) -> Result<(), CliError> {
    let mut body = about(search.about);
    let texts = [
        ("filter", search.filter),
        ("name", search.name),
        ("type", search.r#type),
        ("provider", search.provider),
        ("service", search.service),
        ("account", search.account),
        ("username", search.username),
        ("email", search.email),
        ("url", search.url),
        ("oauth_provider", search.oauth_provider),
        ("oauth_scopes", search.oauth_scopes),
    ];
    for (name, text) in texts {
        set(&mut body, name, text.map(Value::from));
    }
    let asked = search.http_only || search.not_http_only;
    set(&mut body, "http_only", asked.then_some(Value::Bool(search.http_only)));
    set(&mut body, "page_size", Some(json!(search.page_size)));
    let secrets = of(project, &search.subject.subject).await?;
    list(&secrets.search(&Value::Object(body)).await?, search.output.output)
}

async fn create(project: &ProjectRest, create: Create) -> Result<(), CliError> {
    let value = read(create.value)?;
    let secrets = of(project, &create.subject.subject).await?;
    let mut body = about(create.about);
    set(&mut body, "name", Some(create.name.into()));
    set(&mut body, "type", Some(create.r#type.into()));
    set(&mut body, "http_only", Some(create.http_only.into()));
    let mut secret = secrets.create(Value::Object(body)).await?;
    if let Some(value) = value {
        let id = secret["id"].as_str().unwrap_or_default().to_owned();
        secrets.add_version(&id, &value, true).await?;
        secret = secrets.get(&id, false).await?;
    }
    one(&secret, create.output.output)
}

async fn access(
    secrets: &Secrets,
    id: &str,
    version: Option<String>,
    format: Format,
) -> Result<(), CliError> {
    let version = match version {
        Some(version) => version,
        None => match secrets.get(id, false).await?["current_version_id"].as_str() {
            Some(current) => current.to_owned(),
            None => {
                return Err(CliError::user(format!("secret {id} has no current version"))
                    .hint("add one with `meshagent secret add-version`"));
            }
        },
    };
    let value = secrets.access(id, &version).await?;
    if format == Format::Json {
        return output::json(&json!({"value_base64": STANDARD.encode(value)}));
    }
    output::bytes(&value)?;
    if value.ends_with(b"\n") { Ok(()) } else { output::data("\n") }
}

async fn grant(project: &ProjectRest, id: &str, subject: &str, granted: bool) -> Result<(), CliError> {
    let account = account(project, subject).await?;
    project.secrets(SecretOwner::Me).grant_proxy(id, &account, granted).await?;
    done(if granted { "Granted secret" } else { "Revoked secret" }, id);
    Ok(())
}

async fn of(project: &ProjectRest, subject: &str) -> Result<Secrets, CliError> {
    if subject.trim().eq_ignore_ascii_case("me") {
        return Ok(project.secrets(SecretOwner::Me));
    }
    of_account(project, subject).await
}

async fn of_account(project: &ProjectRest, subject: &str) -> Result<Secrets, CliError> {
    Ok(project.secrets(SecretOwner::ServiceAccount(account(project, subject).await?)))
}

/// The id of a service account, by its address, id, key or name.
async fn account(project: &ProjectRest, subject: &str) -> Result<String, CliError> {
    let local = subject.split('@').next().unwrap_or(subject);
    let all = project.service_accounts().await?;
    let found = all.into_iter().find(|account| {
        let known = [Some(&account.id), Some(&account.name), account.key.as_ref()];
        known.into_iter().flatten().any(|text| text == subject || text == local)
    });
    found.map(|account| account.id).ok_or_else(|| {
        CliError::user(format!("there is no service account `{subject}`"))
            .hint("`meshagent service-account list` shows those there are")
    })
}

fn about(about: About) -> Map<String, Value> {
    let mut body = Map::new();
    set(&mut body, "metadata", about.metadata.map(Value::Object));
    set(&mut body, "annotations", about.annotations.map(Value::Object));
    body
}

fn set(body: &mut Map<String, Value>, name: &str, value: Option<Value>) {
    body.extend(value.map(|value| (name.to_owned(), value)));
}

/// The value as given; a file is read as it is, byte for byte.
fn read(value: NewValue) -> Result<Option<Vec<u8>>, CliError> {
    let Some(path) = value.value_file else { return Ok(value.value.map(String::into_bytes)) };
    let failed = |error: std::io::Error| CliError::user(format!("cannot read {}: {error}", path.display()));
    let source: Box<dyn Read> = if path == std::path::Path::new("-") {
        Box::new(std::io::stdin())
    } else {
        Box::new(std::fs::File::open(&path).map_err(failed)?)
    };
    let mut bytes = Vec::new();
    source.take(VALUE_BYTES_MAX).read_to_end(&mut bytes).map_err(failed)?;
    Ok(Some(bytes))
}

fn done(what: &str, id: &str) {
    output::note(format!("{what}: {id}"));
}

fn one(secret: &Value, format: Format) -> Result<(), CliError> {
    if format == Format::Json {
        return output::json(secret);
    }
    list(std::slice::from_ref(secret), format)
}

fn list(secrets: &[Value], format: Format) -> Result<(), CliError> {
    if format == Format::Json {
        return output::json(&json!({"secrets": secrets}));
    }
    table(secrets, &COLUMNS, "No secrets")
}

fn versions(versions: &[Value], format: Format) -> Result<(), CliError> {
    if format == Format::Json {
        return output::json(&json!({"versions": versions}));
    }
    table(versions, &["version", "id", "secret_id", "created_at"], "No versions")
}

fn grants(grants: &[Value], format: Format) -> Result<(), CliError> {
    if format == Format::Json {
        return output::json(&json!({"access_grants": grants}));
    }
    let row = |grant: &Value| {
        let roles = grant["roles"].as_array().into_iter().flatten().filter_map(Value::as_str);
        json!({
            "subject_type": grant["subject"]["type"], "subject_id": grant["subject"]["id"],
            "subject_name": grant["subject"]["name"], "roles": roles.collect::<Vec<_>>().join(", "),
        })
    };
    let rows: Vec<Value> = grants.iter().map(row).collect();
    table(&rows, &["subject_type", "subject_id", "subject_name", "roles"], "No proxy access grants")
}

fn table(rows: &[Value], columns: &'static [&'static str], none: &str) -> Result<(), CliError> {
    let mut table = Table::new(columns);
    for row in rows {
        table.object(row);
    }
    table.print(none)
}
