//! `kind: Secret`: a secret of a service account. A document never holds its value: it says where that comes from, holds it
//! encrypted, or leaves it as it is.

use super::common::{NamedMetadata, SecretKind, Version};
use super::problem::{Finding, Path, shown};
use super::sops::Sealed;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Longest encrypted value, bytes of its text; twice what a value may have.
pub const ENCRYPTED_BYTES_MAX: usize = 128 * 1024;
/// First line of an encrypted value.
pub const ARMOR_BEGIN: &str = "-----BEGIN AGE ENCRYPTED FILE-----";
/// How fingerprints of values begin.
pub const FINGERPRINT_PREFIX: &str = "hmac-sha256:";
/// Hexadecimal digits of a fingerprint.
const FINGERPRINT_DIGITS: usize = 64;

/// A secret of a service account. At most one of `value_from`, `encrypted`, `sops` and `fingerprint` says its value; without
/// them the value stays what it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Secret {
    #[serde(default)]
    pub version: Version,
    #[serde(default)]
    pub kind: SecretKind,
    pub metadata: NamedMetadata,
    /// Name of the service account that it belongs to. It cannot be changed in place.
    #[serde(default = "default_account")]
    pub account: String,
    /// `opaque`, or a word that says what the value is, such as `oauth`.
    #[serde(default = "opaque")]
    pub r#type: String,
    /// The value is given to nobody; only the proxy uses it.
    #[serde(default)]
    pub http_only: bool,
    /// Where the value is read from, by who applies the document: the command line, not the server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value_from: Option<ValueFrom>,
    /// The value, encrypted with age to a recipient whose identity the server has (`up --age-identity`), as armored text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encrypted: Option<String>,
    /// The text of all of this document as SOPS encrypted it: `value` in it is the value, and nothing else is encrypted. It
    /// comes of a file that SOPS wrote; the server opens it as it opens `encrypted`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sops: Option<String>,
    /// What the server tells of the value: a keyed digest. In a document: the value is to be that one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
}

/// Where a value is read from: exactly one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ValueFrom {
    /// Variable of the environment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub env: Option<String>,
    /// File, relative to that of the document; taken as it is, with the line feed at its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
}

impl ValueFrom {
    /// As messages name it: variable `TOKEN`.
    #[must_use]
    pub fn described(&self) -> String {
        match (&self.env, &self.file) {
            (Some(name), _) => format!("variable `{}`", shown(name)),
            (None, Some(path)) => format!("file `{}`", shown(path)),
            (None, None) => "nothing".to_owned(),
        }
    }
}

fn default_account() -> String {
    "default".to_owned()
}

fn opaque() -> String {
    "opaque".to_owned()
}

/// What the rules of the kind say against a document.
pub(super) fn check(secret: &Secret) -> Vec<Finding> {
    let mut findings = vec![];
    let mut say = |path: &str, message: String, hint: &str| {
        findings.push(Finding::new(Path::of(path), message).hint(hint));
    };
    let name = &secret.metadata.name;
    if name.trim().is_empty() || name.contains(char::is_control) {
        say(
            "metadata.name",
            format!("`{}` cannot name a secret", shown(name)),
            "give it a name of plain text",
        );
    }
    if secret.account.trim().is_empty() {
        say("account", "the name is empty".to_owned(), "leave it out for the account `default`");
    }
    let sops = secret.sops.is_some();
    let ways = [secret.value_from.is_some(), secret.encrypted.is_some(), sops, secret.fingerprint.is_some()];
    if ways.into_iter().filter(|way| *way).count() > 1 {
        let path = if secret.encrypted.is_some() { "encrypted" } else { "fingerprint" };
        let text = "a secret has one value, and this document says several";
        say(path, text.to_owned(), "keep one of value_from, encrypted, sops and fingerprint");
    }
    if let Some((message, hint)) = secret.sops.as_deref().and_then(|text| of_sops(secret, text)) {
        say("sops", message, hint);
    }
    if let Some(from) = &secret.value_from {
        let named = |text: &Option<String>| text.as_ref().is_some_and(|text| !text.is_empty());
        if named(&from.env) == named(&from.file) {
            let hint = "write `env: NAME` or `file: PATH`";
            say("value_from", "exactly one place of the value is to be said".to_owned(), hint);
        }
        if from.env.as_ref().is_some_and(|name| name.contains(['=', '\0'])) {
            say("value_from.env", "this is not a name for a variable".to_owned(), "write only its name");
        }
    }
    if let Some(text) = &secret.encrypted {
        if !text.trim_start().starts_with(ARMOR_BEGIN) {
            // Whatever it is, it is not repeated: it may be the value itself.
            let message = format!("this is not an encrypted value; one begins with `{ARMOR_BEGIN}`");
            say("encrypted", message, "make it with `age --armor --recipient …`");
        } else if text.len() > ENCRYPTED_BYTES_MAX {
            let message = format!(
                "the encrypted value has {} bytes, at most {ENCRYPTED_BYTES_MAX} are read",
                text.len()
            );
            say("encrypted", message, "a secret has at most 64 KiB");
        }
    }
    if secret.fingerprint.as_ref().is_some_and(|text| !is_fingerprint(text)) {
        let message =
            format!("this is not a fingerprint; one is `{FINGERPRINT_PREFIX}` and 64 hexadecimal digits");
        say("fingerprint", message, "leave it out to keep the value as it is");
    }
    findings
}

/// What is wrong with a document as SOPS encrypted it.
fn of_sops(secret: &Secret, text: &str) -> Option<(String, &'static str)> {
    let sealed = match Sealed::read(text) {
        Ok(sealed) => sealed,
        Err(unread) => return Some((unread.to_string(), unread.hint())),
    };
    let said = super::from_json::<Secret>(sealed.document).ok();
    let plain = Secret { sops: None, ..secret.clone() };
    let other = "what SOPS encrypted is another document than this: its code is over the name, the account and the rest";
    (said.as_ref() != Some(&plain)).then(|| {
        (other.to_owned(), "change the file with `sops edit`, and neither by hand nor by an overlay")
    })
}

fn is_fingerprint(text: &str) -> bool {
    let digits = text.strip_prefix(FINGERPRINT_PREFIX).unwrap_or_default();
    digits.len() == FINGERPRINT_DIGITS
        && digits.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}
