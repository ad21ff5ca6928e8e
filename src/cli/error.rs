//! How a command fails: one text, hints for the next step, and the exit code (2 the command line is wrong, 1 all else).

use std::fmt;
use std::process::ExitCode;

/// Exit code of a wrong command line.
const EXIT_USAGE: u8 = 2;
/// Exit code of every other failure.
const EXIT_FAILURE: u8 = 1;

/// Whose fault it is; decides the exit code and the word before the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The command line cannot be understood.
    Usage,
    /// What was asked for cannot be done as things are.
    User,
    /// The server refused or failed.
    Server,
    /// A defect or an unexpected state of this machine.
    Internal,
    /// A command's own verdict (`wait` timed out, a child's code): nothing more to print.
    Exit(u8),
}

/// A failed command. Prints as `error: MESSAGE` and one `hint: …` line per hint, on stderr.
#[derive(Debug)]
pub struct CliError {
    kind: Kind,
    message: String,
    hints: Vec<String>,
}

impl CliError {
    fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hints: Vec::new() }
    }

    /// The command line cannot be understood (exit code 2).
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Kind::Usage, message)
    }

    /// What was asked for cannot be done (exit code 1).
    pub fn user(message: impl Into<String>) -> Self {
        Self::new(Kind::User, message)
    }

    /// The server refused or failed (exit code 1).
    pub fn server(message: impl Into<String>) -> Self {
        Self::new(Kind::Server, message)
    }

    /// Something went wrong inside this program or on this machine (exit code 1).
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(Kind::Internal, message)
    }

    /// Ends with this code and prints nothing more.
    pub fn exit(code: u8) -> Self {
        Self::new(Kind::Exit(code), "")
    }

    /// Exits with 2 where 1 has a meaning of its own, as with `diff`.
    pub fn graver(self) -> Self {
        match self.kind {
            Kind::Exit(_) => self,
            _ => Self { kind: Kind::Usage, ..self },
        }
    }

    /// Adds one line that says what to do next.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// Whose fault it is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The process's exit code.
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self.kind {
            Kind::Usage => EXIT_USAGE,
            Kind::Exit(code) => code,
            Kind::User | Kind::Server | Kind::Internal => EXIT_FAILURE,
        })
    }
}

impl fmt::Display for CliError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        self.hints.iter().try_for_each(|hint| write!(f, "\nhint: {hint}"))
    }
}

impl std::error::Error for CliError {}

impl From<std::io::Error> for CliError {
    fn from(error: std::io::Error) -> Self {
        Self::internal(error.to_string())
    }
}

impl From<serde_json::Error> for CliError {
    fn from(error: serde_json::Error) -> Self {
        Self::internal(format!("cannot write this as JSON: {error}"))
    }
}

impl From<anyhow::Error> for CliError {
    fn from(error: anyhow::Error) -> Self {
        Self::internal(format!("{error:#}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hints_follow_the_message_and_usage_exits_with_two() {
        let error = CliError::usage("no room").hint("pass --room").hint("or set MESHAGENT_ROOM");
        assert_eq!(error.to_string(), "no room\nhint: pass --room\nhint: or set MESHAGENT_ROOM");
        assert_eq!(format!("{:?}", error.exit_code()), format!("{:?}", ExitCode::from(2)));
        assert_eq!(format!("{:?}", CliError::server("x").exit_code()), format!("{:?}", ExitCode::from(1)));
    }
}
