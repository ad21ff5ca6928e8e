//! `meshagent version`.

use crate::cli::error::CliError;
use crate::cli::output;
use crate::cli::resolve::Ctx;

pub async fn run(ctx: &Ctx) -> Result<(), CliError> {
    output::line(format!("meshagent {}", env!("CARGO_PKG_VERSION")))?;
    let Ok(rest) = ctx.anonymous() else { return Ok(()) };
    match rest.config().await {
        Ok(config) => output::line(format!(
            "server    {} at {}",
            config.version.as_deref().unwrap_or("of unknown version"),
            rest.base()
        )),
        Err(error) => {
            output::note(format!("server: {error}"));
            Ok(())
        }
    }
}
