//! `meshagent kubeconfig`: how `kubectl` reaches a server.

use crate::cli::error::CliError;
use crate::cli::output;
use crate::cli::resolve::{Ctx, Globals};
use crate::cli::settings::write_private;
use crate::client::rest::{Bearer, Rest};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use std::path::PathBuf;

/// Print a kubeconfig with which kubectl works on this server.
///
/// It holds your API key, which is a secret; it is printed here because you asked.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  meshagent kubeconfig > mesh.yaml\n  \
                        kubectl --kubeconfig mesh.yaml get rooms\n  \
                        meshagent kubeconfig --project shop --name shop --output ~/.kube/shop")]
pub struct Args {
    /// Project that is the namespace, by id, key or name [default: the active one]
    #[arg(long, value_name = "PROJECT")]
    project: Option<String>,
    /// Name of the cluster, the user and the context in the file
    #[arg(long, value_name = "NAME", default_value = "meshagent")]
    name: String,
    /// Write a file that only you can read, instead of printing
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

pub async fn run(globals: Globals, args: Args) -> Result<(), CliError> {
    let ctx = Ctx::load(globals)?;
    let key = ctx.api_key().ok_or_else(no_key)?;
    let rest = ctx.rest()?;
    let namespace = match args.project {
        Some(project) => namespace(&rest, &project).await?,
        None => ctx.project_id()?,
    };
    let url = rest.base().to_string();
    let (server, authority) = match url.strip_prefix("http://") {
        // kubectl sends no credential without TLS.
        Some(rest_of_url) => {
            let config = rest.config().await?;
            let authority = config.other.get("certificate_authority").and_then(Value::as_str);
            let authority = authority.map(|pem| STANDARD.encode(pem)).ok_or_else(|| no_tls(&url))?;
            (format!("https://{rest_of_url}"), Some(authority))
        }
        None => (url, None),
    };
    let text = text(&args.name, &server, authority.as_deref(), &namespace, &key)?;
    match args.output {
        None => output::data(&text),
        Some(path) => {
            write_private(&path, text.as_bytes())
                .map_err(|error| CliError::user(format!("cannot write {}: {error}", path.display())))?;
            output::note(format!("wrote {}; use it with `kubectl --kubeconfig`", path.display()));
            Ok(())
        }
    }
}

/// The id of a project that the key may work in.
async fn namespace(rest: &Rest, project: &str) -> Result<String, CliError> {
    if let Some(found) = rest.find_project(project).await? {
        return Ok(found.id);
    }
    let all = rest.projects().await?;
    let mut same = all.iter().filter(|one| one.name == project);
    match (same.next(), same.next()) {
        (Some(one), None) => Ok(one.id.clone()),
        (None, _) => Err(CliError::user(format!("no project `{project}` that this key may work in"))
            .hint("`meshagent project list` shows those there are")),
        (Some(_), Some(_)) => {
            Err(CliError::user(format!("several projects are called `{project}`")).hint("name one by its id"))
        }
    }
}

fn no_key() -> CliError {
    CliError::user("there is no API key to write into a kubeconfig")
        .hint("set MESHAGENT_API_KEY to an API key of the project; participant tokens do not do")
        .hint("for a server on this machine, `meshagent env` prints it")
}

fn no_tls(url: &str) -> CliError {
    CliError::user(format!("the server at {url} does not speak TLS, and kubectl sends no credential without"))
        .hint("use its https:// address, or a newer server")
}

fn text(
    name: &str,
    server: &str,
    authority: Option<&str>,
    namespace: &str,
    key: &Bearer,
) -> Result<String, CliError> {
    let mut cluster = json!({"server": server});
    if let Some(authority) = authority {
        // It signs for this server alone, by whatever address that is reached.
        cluster["tls-server-name"] = json!("localhost");
        cluster["certificate-authority-data"] = json!(authority);
    }
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": cluster}],
        "users": [{"name": name, "user": {"token": key.expose()}}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name, "namespace": namespace}}],
        "current-context": name,
    });
    serde_yaml::to_string(&config)
        .map_err(|error| CliError::internal(format!("cannot write this as YAML: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_what_kubectl_reads() {
        let key = Bearer::new("ma-key");
        let text = text("mesh", "https://127.0.0.1:1", Some("QQ=="), "shop", &key).unwrap();
        let read: Value = serde_yaml::from_str(&text).unwrap();
        assert_eq!(read["current-context"], "mesh");
        assert_eq!(read["clusters"][0]["cluster"]["certificate-authority-data"], "QQ==");
        assert_eq!(read["users"][0]["user"]["token"], "ma-key");
        assert_eq!(read["contexts"][0]["context"]["namespace"], "shop");
        let plain = super::text("mesh", "https://x", None, "shop", &key).unwrap();
        assert!(!plain.contains("certificate-authority-data"), "{plain}");
    }
}
