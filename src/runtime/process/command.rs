//! From a request to the words, the environment and the directories of one child process.

use crate::runtime::{COMMAND_BYTES_MAX, ENV_MAX, EnvValue, InstanceKey, RuntimeError, StartRequest};
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::path::Path;

/// Images that this runtime can stand in for: their program is this very binary.
const OWN_IMAGE: &str = "meshagent/cli";
/// The word of a command that means this very binary.
const OWN_PROGRAM: &str = "meshagent";
/// Search path of a child that is given none.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Whether an image means this program.
#[must_use]
pub fn is_own_image(image: &str) -> bool {
    let name = image.split_once('@').map_or(image, |(name, _)| name);
    let name = name.strip_prefix("docker.io/").unwrap_or(name);
    name == OWN_IMAGE || name.strip_prefix(OWN_IMAGE).is_some_and(|tag| tag.starts_with(':'))
}

/// Refuses images that are not this program.
pub(super) fn check_image(image: &str) -> Result<(), RuntimeError> {
    if is_own_image(image) {
        Ok(())
    } else {
        Err(RuntimeError::ImageNotSupported { image: image.to_owned() })
    }
}

/// Splits the command as a shell would, without being one.
pub fn split(key: &InstanceKey, command: &str) -> Result<Vec<String>, RuntimeError> {
    if command.len() > COMMAND_BYTES_MAX {
        let detail =
            format!("the command has {} bytes, at most {COMMAND_BYTES_MAX} are allowed", command.len());
        return Err(RuntimeError::RequestTooLarge { key: key.clone(), detail });
    }
    shlex::split(command)
        .ok_or_else(|| RuntimeError::CommandMalformed { key: key.clone(), command: command.to_owned() })
}

/// The words of the command; its program word becomes a path.
pub(super) fn words(request: &StartRequest, program: &Path) -> Result<Vec<OsString>, RuntimeError> {
    let words = split(&request.key, &request.command)?;
    let mut words: Vec<OsString> = words.into_iter().map(OsString::from).collect();
    match words.first_mut() {
        Some(word) if word == OWN_PROGRAM => *word = program.into(),
        Some(_) => {}
        None => return Err(RuntimeError::CommandEmpty { key: request.key.clone() }),
    }
    Ok(words)
}

/// Refuses variables that no process can have, and too many of them.
pub fn check_env(request: &StartRequest) -> Result<(), RuntimeError> {
    let too_large = |detail: String| RuntimeError::RequestTooLarge { key: request.key.clone(), detail };
    if request.env.len() > ENV_MAX {
        return Err(too_large(format!("{} variables, at most {ENV_MAX} are allowed", request.env.len())));
    }
    for (name, value) in &request.env {
        if name.is_empty() || name.contains(['=', '\0']) || bytes(value).contains(&0) {
            return Err(too_large(format!(
                "the variable {name:?} has a name or value that no process can have"
            )));
        }
    }
    Ok(())
}

fn bytes(value: &EnvValue) -> &[u8] {
    match value {
        EnvValue::Plain(text) => text.as_bytes(),
        EnvValue::Secret(secret) => secret.expose(),
    }
}

/// The whole environment: a few defaults, then what the request gives.
pub(super) fn environment(
    request: &StartRequest,
    own: &Path,
) -> Result<Vec<(OsString, OsString)>, RuntimeError> {
    check_env(request)?;
    let mut env: Vec<(OsString, OsString)> = vec![
        ("PATH".into(), PATH.into()),
        ("LANG".into(), "C.UTF-8".into()),
        ("HOME".into(), own.into()),
        ("TMPDIR".into(), own.into()),
    ];
    let own = |value: &EnvValue| OsString::from_vec(bytes(value).to_vec());
    env.extend(request.env.iter().map(|(name, value)| (name.into(), own(value))));
    Ok(env)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_image_is_taken() {
        for good in [
            "meshagent/cli",
            "meshagent/cli:default",
            "meshagent/cli:0.55@sha256:ab",
            "docker.io/meshagent/cli:x",
        ] {
            assert!(check_image(good).is_ok(), "{good}");
        }
        for bad in ["", "python:3.13", "meshagent/client", "evil/meshagent/cli:x", "meshagent/cli-extra:1"] {
            let error = check_image(bad).unwrap_err().to_string();
            assert!(error.contains("container runtime"), "{error}");
        }
    }
}
