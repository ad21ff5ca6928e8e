//! `meshagent launch …`: programs of others on this machine, with their models by way of the server.
//!
//! The program takes the place of this one, with the person's own environment: it is theirs, and they start it. The
//! credential is in its environment, never in its arguments.

use crate::cli::error::CliError;
use crate::cli::resolve::Ctx;
use std::ffi::OsString;
use std::io::ErrorKind;
use std::os::unix::process::CommandExt;
use std::process::Command as Program;

/// The model that Codex asks unless `-m` says otherwise.
const CODEX_MODEL: &str = "gpt-6.1-sol";
/// How Codex's settings name this server, and the variable that holds its credential.
const PROVIDER: &str = "meshagent";
const CODEX_KEY: &str = "MESHAGENT_LLM_TOKEN";
/// Names the project to the server.
const PROJECT_HEADER: &str = "Meshagent-Project-Id";
/// Credentials for other places: the program is not to use them, nor to see ours twice.
const LEFT_OUT: [&str; 6] = [
    "ANTHROPIC_API_KEY",
    "ANTHROPIC_AUTH_TOKEN",
    "MESHAGENT_API_KEY",
    "MESHAGENT_KEK",
    "MESHAGENT_TOKEN",
    "OPENAI_API_KEY",
];

/// Start a program with its models by way of the server.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Start Codex; further arguments are its own
    #[command(after_help = "For example:\n  meshagent launch codex -- exec \"explain this repository\"")]
    Codex(Args),
    /// Start Claude Code; further arguments are its own
    #[command(after_help = "For example:\n  meshagent launch claude -- -p \"explain this repository\"")]
    Claude(Args),
}

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Passed on as they are
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGUMENTS")]
    arguments: Vec<OsString>,
}

/// Ends only where the program cannot be started.
pub fn run(ctx: &Ctx, command: Command) -> Result<(), CliError> {
    let (url, project, bearer) = (ctx.api_url()?, ctx.project_id()?, ctx.bearer()?);
    let (name, title, mut program, arguments) = match command {
        Command::Codex(args) => {
            check_codex(&args.arguments)?;
            let mut program = Program::new("codex");
            for setting in codex_settings(&url, &project) {
                program.arg("-c").arg(setting);
            }
            program.env(CODEX_KEY, bearer.expose());
            ("codex", "Codex", program, args.arguments)
        }
        Command::Claude(args) => {
            let mut program = Program::new("claude");
            program
                .env("ANTHROPIC_BASE_URL", format!("{url}/anthropic"))
                .env("ANTHROPIC_CUSTOM_HEADERS", format!("{PROJECT_HEADER}: {project}"));
            ("claude", "Claude Code", program, args.arguments)
        }
    };
    for variable in LEFT_OUT {
        program.env_remove(variable);
    }
    if name == "claude" {
        program.env("ANTHROPIC_AUTH_TOKEN", bearer.expose());
    }
    program.env("MESHAGENT_API_URL", &url).env("MESHAGENT_PROJECT_ID", &project).args(arguments);
    let error = program.exec();
    Err(match error.kind() {
        ErrorKind::NotFound => {
            CliError::user(format!("{title} is not installed: there is no `{name}` on the PATH"))
                .hint("install it, or add its folder to PATH")
        }
        _ => CliError::user(format!("{title} cannot be started: {error}")),
    })
}

/// What Codex takes with `-c`: TOML values.
fn codex_settings(url: &str, project: &str) -> Vec<String> {
    let text = |text: &str| serde_json::Value::from(text).to_string();
    let at = |name: &str, value: String| format!("model_providers.{PROVIDER}.{name}={value}");
    vec![
        format!("model_provider={}", text(PROVIDER)),
        format!("model={}", text(CODEX_MODEL)),
        at("name", text("MeshAgent")),
        at("base_url", text(&format!("{url}/openai/v1"))),
        at("wire_api", text("responses")),
        at("env_key", text(CODEX_KEY)),
        at("http_headers", format!("{{{}={}}}", text(PROJECT_HEADER), text(project))),
    ]
}

/// The provider is this command's to choose.
fn check_codex(arguments: &[OsString]) -> Result<(), CliError> {
    let texts: Vec<String> = arguments.iter().map(|one| one.to_string_lossy().into_owned()).collect();
    let is_setting = |text: &str| {
        let text = text.trim_start();
        text.starts_with("profile=") || text.starts_with("model_provider=")
    };
    let chooses = texts.iter().enumerate().any(|(n, text)| match text.as_str() {
        "-p" | "--profile" => true,
        "-c" | "--config" => texts.get(n + 1).is_some_and(|next| is_setting(next)),
        other => other.starts_with("--profile=") || other.strip_prefix("--config=").is_some_and(is_setting),
    });
    if chooses {
        return Err(CliError::usage("`launch codex` chooses the provider of models")
            .hint("leave out --profile and settings of the provider"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_provider_is_not_the_arguments_to_choose() {
        let check = |texts: &[&str]| check_codex(&texts.iter().map(OsString::from).collect::<Vec<_>>());
        for bad in [
            &["--profile", "x"][..],
            &["-p", "x"],
            &["--profile=x"],
            &["-c", "model_provider=\"x\""],
            &["--config=profile=x"],
        ] {
            assert!(check(bad).is_err(), "{bad:?}");
        }
        assert!(check(&["exec", "-m", "gpt-5", "-c", "model=\"x\"", "hello -p"]).is_ok());
    }

    #[test]
    fn codex_is_told_where_and_not_by_which_key() {
        let all = codex_settings("http://h:1", "p\"1").join("\n");
        assert!(all.contains(r#"model_providers.meshagent.base_url="http://h:1/openai/v1""#), "{all}");
        assert!(all.contains(r#"http_headers={"Meshagent-Project-Id"="p\"1"}"#), "{all}");
        assert!(all.contains(r#"env_key="MESHAGENT_LLM_TOKEN""#));
    }
}
