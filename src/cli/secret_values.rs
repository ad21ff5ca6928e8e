//! Values of secrets in documents: read here, where the command runs, and sent beside the documents.

use super::documents::is_url;
use super::error::CliError;
use crate::spec::{self, Document, ValueFrom};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

/// Longest value, bytes; that of a secret on the server.
const VALUE_BYTES_MAX: u64 = 64 * 1024;

/// The values that documents say by `value_from`, by the index of the document. `documents`: each with the name of the text
/// it is from.
pub fn read<'a>(
    documents: impl Iterator<Item = (&'a Value, &'a str)>,
) -> Result<BTreeMap<usize, String>, CliError> {
    let mut values = BTreeMap::new();
    for (index, (document, place)) in documents.enumerate() {
        if document.get("kind").and_then(Value::as_str) != Some("Secret")
            || document.get("value_from").is_none()
        {
            continue;
        }
        // What is wrong with the document itself, the server says.
        let Ok(Document::Secret(secret)) = spec::document_from_json(document.clone()) else { continue };
        let Some(from) = secret.value_from else { continue };
        let value = value(&from, place).map_err(|error| {
            let name = &secret.metadata.name;
            CliError::user(format!("{place}: Secret `{name}`: value_from: {error}; nothing was changed"))
        })?;
        values.insert(index, value);
    }
    Ok(values)
}

/// Why a value cannot be read. Never has anything of it.
#[derive(Debug, thiserror::Error)]
enum ValueError {
    #[error(
        "the document came over the network, and does not get variables or files of this machine; save it first, and read it"
    )]
    FromElsewhere,
    #[error("{0} is not set")]
    NotSet(String),
    #[error("{0} is set, and empty")]
    Empty(String),
    #[error("{0} is not beside the document, or below its folder; values are read from nowhere else")]
    Outside(String),
    #[error("{0} is no file")]
    NoFile(String),
    #[error("{0} is not text in UTF-8")]
    NotText(String),
    #[error("{0} cannot be read: {1}")]
    Unreadable(String, std::io::Error),
    #[error("{0} has more than 64 KiB")]
    TooLong(String),
    #[error("nothing says where it is")]
    Nowhere,
}

fn value(from: &ValueFrom, place: &str) -> Result<String, ValueError> {
    let described = from.described();
    if is_url(place) {
        return Err(ValueError::FromElsewhere);
    }
    match (&from.env, &from.file) {
        (Some(name), _) => match std::env::var(name) {
            // What a pipeline gives for a secret that it does not have.
            Ok(text) if text.is_empty() => Err(ValueError::Empty(described)),
            Ok(text) => Ok(text),
            Err(std::env::VarError::NotPresent) => Err(ValueError::NotSet(described)),
            Err(std::env::VarError::NotUnicode(_)) => Err(ValueError::NotText(described)),
        },
        (None, Some(file)) => {
            // A document's own folder; that of the command where it came by stdin.
            let folder = Path::new(place).parent().filter(|folder| !folder.as_os_str().is_empty());
            let folder = folder.unwrap_or(Path::new("."));
            let unreadable = |error| ValueError::Unreadable(described.clone(), error);
            let path = folder.join(file).canonicalize().map_err(unreadable)?;
            // Documents of others do not get what else lies about on this machine.
            if !path.starts_with(folder.canonicalize().map_err(unreadable)?) {
                return Err(ValueError::Outside(described));
            }
            if !path.is_file() {
                return Err(ValueError::NoFile(described));
            }
            let opened = std::fs::File::open(path).map_err(unreadable)?;
            let mut bytes = vec![];
            opened.take(VALUE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(unreadable)?;
            if bytes.len() as u64 > VALUE_BYTES_MAX {
                return Err(ValueError::TooLong(described));
            }
            String::from_utf8(bytes).map_err(|_| ValueError::NotText(described))
        }
        (None, None) => Err(ValueError::Nowhere),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn one(value_from: &Value, place: &str) -> Result<BTreeMap<usize, String>, String> {
        let room = json!({"version": "v1", "kind": "Room", "metadata": {"name": "a"}});
        let secret =
            json!({"version": "v1", "kind": "Secret", "metadata": {"name": "key"}, "value_from": value_from});
        read([(&room, place), (&secret, place)].into_iter()).map_err(|error| error.to_string())
    }

    #[test]
    fn values_are_read_beside_the_document() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("key.txt"), "hunter2\n").unwrap();
        std::fs::write(dir.path().join("bytes"), [0xff]).unwrap();
        std::os::unix::fs::symlink("/etc/hostname", dir.path().join("link")).unwrap();
        std::fs::write(dir.path().join("long"), vec![b'x'; 64 * 1024 + 1]).unwrap();
        let place = dir.path().join("secret.yaml").display().to_string();
        let found = one(&json!({"file": "key.txt"}), &place).unwrap();
        assert_eq!(found, BTreeMap::from([(1, "hunter2\n".to_owned())]));
        let path = one(&json!({"env": "PATH"}), &place).unwrap();
        assert_eq!(path[&1], std::env::var("PATH").unwrap());
        for (from, wanted) in [
            (json!({"file": "kye.txt"}), "file `kye.txt` cannot be read"),
            (json!({"file": "bytes"}), "is not text"),
            (json!({"file": "long"}), "more than 64 KiB"),
            (json!({"file": "/etc/hostname"}), "is not beside the document"),
            (json!({"file": "../../../../../../../etc/hostname"}), "is not beside the document"),
            (json!({"file": "link"}), "is not beside the document"),
            (json!({"file": "."}), "is no file"),
            (json!({"env": "MESHAGENT_TEST_NOT_SET"}), "variable `MESHAGENT_TEST_NOT_SET` is not set"),
        ] {
            let error = one(&from, &place).unwrap_err();
            assert!(error.contains(wanted) && error.contains("Secret `key`: value_from"), "{error}");
        }
        let error = one(&json!({"env": "PATH"}), "https://example.com/secret.yaml").unwrap_err();
        assert!(error.contains("came over the network"), "{error}");
    }
}
