//! Values of secrets in documents: who may say them, and how they get from a request into the vault.
//!
//! A value is never part of a document that is planned. Its place is taken by a fingerprint, a digest under a key that the
//! vault has for the project; that is what plans, diffs, the log and exports see.
//!
//! The server reads neither its own environment nor its files for a document: whoever may apply in one project could read
//! what is meant for others. It opens encrypted values, with identities that its operator gave to this very project.

use super::plan::{Missing, Request, Values};
use super::{App, Error};
use crate::id::ProjectId;
use crate::projection::World;
use crate::spec::sops::Sealed;
use crate::spec::{self, Document};
use crate::vault::age::{self, Identity};
use crate::vault::sops;
use crate::vault::{SECRET_BYTES_MAX, Secret, SecretId};
use serde_json::{Value, json};
use std::sync::{Arc, OnceLock};

/// Identities that open the encrypted values of one project.
#[derive(Debug)]
pub struct AgeIdentities {
    /// Id or short name of the project; the server's own where there is none.
    pub project: Option<String>,
    pub identities: Vec<Identity>,
}

/// All that the operator gave.
#[derive(Debug, Default)]
pub struct AgeKeys {
    pub all: Vec<AgeIdentities>,
    /// The server's own project: the one of its first start.
    pub own: OnceLock<ProjectId>,
}

impl AgeKeys {
    fn of(&self, world: &World, project: ProjectId) -> Vec<&Identity> {
        let state = world.project(project).and_then(|view| view.project.as_ref()).map(|slot| &slot.state);
        let is_it = |one: &&AgeIdentities| match &one.project {
            Some(name) => *name == project.to_string() || state.is_some_and(|state| state.key == *name),
            None => self.own.get() == Some(&project),
        };
        self.all.iter().filter(is_it).flat_map(|one| &one.identities).collect()
    }
}

impl App {
    /// A request as it is planned, and the values that came with it.
    pub(super) async fn with_values(
        self: &Arc<Self>,
        project: ProjectId,
        request: Arc<Request>,
    ) -> Result<(Arc<Request>, Arc<Values>), Error> {
        let says_one = |document: &Value| {
            let member = |name: &str| document.get(name).is_some();
            document.get("kind").and_then(Value::as_str) == Some("Secret")
                && ["value_from", "encrypted", "sops"].into_iter().any(member)
        };
        if request.values.is_empty() && !request.documents.iter().any(says_one) {
            return Ok((request, Arc::default()));
        }
        let id = SecretId::new(format!("fingerprint/{project}"))?;
        let key = self.vault.get_or_make(&id).await?;
        let world = self.world();
        self.planned(project, move |app| {
            let identities = app.settings.age.of(&world, project);
            let mut values = Values::default();
            let mut request = Request::clone(&request);
            let mut documents = std::mem::take(&mut request.documents);
            let sent = std::mem::take(&mut request.values);
            let asks =
                |index: &usize| documents.get(*index).is_some_and(|one| one.get("value_from").is_some());
            for index in sent.keys().filter(|index| !asks(index)) {
                values.refuse(*index, unasked());
            }
            for (index, document) in documents.iter_mut().enumerate().filter(|(_, one)| says_one(one)) {
                match value_of(document, sent.get(&index), &identities) {
                    Ok(Some((of, value))) => {
                        let of = [of[0].as_str(), of[1].as_str()];
                        put(document, &values.add(&key, of, value));
                    }
                    // What is wrong in the document itself is found when it is planned.
                    Ok(None) => {}
                    Err(missing) => {
                        put(document, "");
                        values.refuse(index, missing);
                    }
                }
            }
            request.documents = documents;
            Ok((Arc::new(request), Arc::new(values)))
        })
        .await
    }
}

/// The value that a document says, with the account and the name of the secret. `None`: it cannot be read.
fn value_of(
    document: &Value,
    sent: Option<&Secret>,
    identities: &[&Identity],
) -> Result<Option<([String; 2], Secret)>, Missing> {
    let Ok(Document::Secret(secret)) = spec::document_from_json(document.clone()) else { return Ok(None) };
    let spec::Secret { metadata, account, value_from, encrypted, sops, .. } = secret;
    let value = match (value_from, encrypted, sops) {
        (Some(from), ..) => sent.cloned().ok_or_else(|| Missing {
            path: "value_from",
            message: format!("the value of {} was not sent; the server does not read it", from.described()),
            hint: "apply the document with `meshagent apply`, which reads it where it runs, or write `encrypted`",
        })?,
        (None, Some(armored), _) => opened(&armored, identities)?,
        (None, None, Some(text)) => opened_by_sops(&text, identities)?,
        (None, None, None) => return Ok(None),
    };
    let bytes = value.expose().len();
    if bytes > SECRET_BYTES_MAX {
        let message = format!("the value has {bytes} bytes, a secret has at most {SECRET_BYTES_MAX}");
        return Err(Missing {
            path: "value_from",
            message,
            hint: "keep it elsewhere, and only a key to it here",
        });
    }
    Ok(Some(([account, metadata.name], value)))
}

fn no_identity(path: &'static str) -> Missing {
    let message = "the server has no identity to open values of this project with".to_owned();
    Missing { path, message, hint: "start it with `--age-identity PROJECT=FILE`" }
}

fn opened_by_sops(text: &str, identities: &[&Identity]) -> Result<Secret, Missing> {
    let path = "sops";
    if identities.is_empty() {
        return Err(no_identity(path));
    }
    let sealed = Sealed::read(text);
    let sealed =
        sealed.map_err(|unread| Missing { path, message: unread.to_string(), hint: unread.hint() })?;
    sops::open(&sealed, identities.iter().copied()).map_err(|error| {
        let hint = "encrypt the file again with `sops`, to the recipient of an identity that the server has";
        Missing { path, message: format!("the document cannot be opened: {error}"), hint }
    })
}

fn opened(armored: &str, identities: &[&Identity]) -> Result<Secret, Missing> {
    let path = "encrypted";
    if identities.is_empty() {
        return Err(no_identity(path));
    }
    age::open(armored, identities.iter().copied()).map_err(|error| {
        let hint = "encrypt it again, with `age --armor --recipient …`";
        Missing { path, message: format!("the value cannot be opened: {error}"), hint }
    })
}

fn unasked() -> Missing {
    let message = "a value was sent for a document that does not say `value_from`".to_owned();
    Missing { path: "value_from", message, hint: "say in the document where the value comes from" }
}

/// Puts a fingerprint in the place of what said the value.
fn put(document: &mut Value, fingerprint: &str) {
    let Some(document) = document.as_object_mut() else { return };
    document.remove("value_from");
    document.remove("encrypted");
    document.remove("sops");
    if !fingerprint.is_empty() {
        document.insert("fingerprint".to_owned(), json!(fingerprint));
    }
}
