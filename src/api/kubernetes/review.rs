//! Questions about rights: `kubectl auth can-i`. A service account may do everything in its project.
//!
//! `kubectl` asks in Protocol Buffers and takes the answer as JSON, so that only the question is read here.

use super::discovery::VERBS;
use super::{Asked, Refusal, json_as, namespaces};
use crate::crd::names::{self, GROUP};
use axum::http::StatusCode;
use axum::response::Response;
use prost::Message;
use serde::Deserialize;
use serde_json::json;

/// What bodies in Protocol Buffers begin with.
const MAGIC: &[u8] = b"k8s\0";

/// `runtime.Unknown`, in which objects are wrapped.
#[derive(Clone, PartialEq, Message)]
struct Wrapped {
    #[prost(bytes = "vec", tag = "2")]
    raw: Vec<u8>,
}

/// `SelfSubjectAccessReview`.
#[derive(Clone, PartialEq, Message, Deserialize)]
struct Review {
    #[serde(default)]
    #[prost(message, optional, tag = "2")]
    spec: Option<Spec>,
}

#[derive(Clone, PartialEq, Message, Deserialize)]
struct Spec {
    #[serde(default, rename = "resourceAttributes")]
    #[prost(message, optional, tag = "1")]
    resource: Option<Attributes>,
}

#[derive(Clone, PartialEq, Message, Deserialize)]
#[serde(default)]
struct Attributes {
    #[prost(string, tag = "1")]
    namespace: String,
    #[prost(string, tag = "2")]
    verb: String,
    #[prost(string, tag = "3")]
    group: String,
    #[prost(string, tag = "5")]
    resource: String,
    #[prost(string, tag = "7")]
    name: String,
}

/// Whether the caller may do something.
pub(super) fn access(asked: &Asked) -> Result<Response, Refusal> {
    let review = read(&asked.body)?;
    let attributes = review.spec.and_then(|spec| spec.resource).unwrap_or_default();
    let status = match reason(asked, &attributes) {
        None => json!({"allowed": true}),
        Some(reason) => json!({"allowed": false, "reason": reason}),
    };
    let Attributes { namespace, verb, group, resource, name } = attributes;
    let review = json!({
        "kind": "SelfSubjectAccessReview", "apiVersion": "authorization.k8s.io/v1", "metadata": {},
        "spec": {"resourceAttributes": {"namespace": namespace, "verb": verb, "group": group,
            "resource": resource, "name": name}},
        "status": status,
    });
    Ok(json_as(StatusCode::CREATED, &review))
}

fn read(body: &[u8]) -> Result<Review, Refusal> {
    let unread = |why: String| Refusal::bad_request(format!("the body is no SelfSubjectAccessReview: {why}"));
    let Some(wrapped) = body.strip_prefix(MAGIC) else {
        return serde_json::from_slice(body).map_err(|error| unread(error.to_string()));
    };
    let inner = Wrapped::decode(wrapped).and_then(|wrapped| Review::decode(wrapped.raw.as_slice()));
    inner.map_err(|error| unread(error.to_string()))
}

/// Why the caller may not; none where it may.
fn reason(asked: &Asked, attributes: &Attributes) -> Option<&'static str> {
    if asked.account().is_err() {
        return Some("this takes an API key of the project, or the role admin in it");
    }
    let Attributes { namespace, verb, group, resource, .. } = attributes;
    if !namespace.is_empty() && namespaces::find(asked, namespace).is_err() {
        return Some("the namespace is another project's");
    }
    let is_known = match (group.as_str(), resource.as_str()) {
        ("", "namespaces") => matches!(verb.as_str(), "get" | "list"),
        (GROUP, plural) => {
            let any = plural == "*" || names::kinds().any(|kind| names::plural(kind.kind()) == plural);
            any && (verb == "*" || VERBS.contains(&verb.as_str()))
        }
        _ => false,
    };
    if is_known { None } else { Some("this server has no such resource, or no such verb of it") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_are_read_in_both_forms() {
        let wanted = Attributes { verb: "get".into(), resource: "rooms".into(), ..Attributes::default() };
        let json = br#"{"spec": {"resourceAttributes": {"verb": "get", "resource": "rooms"}}}"#;
        let review = Review { spec: Some(Spec { resource: Some(wanted.clone()) }) };
        let wrapped = Wrapped { raw: review.encode_to_vec() }.encode_to_vec();
        for body in [json.to_vec(), [MAGIC, &wrapped].concat()] {
            assert_eq!(read(&body).unwrap().spec.unwrap().resource.unwrap(), wanted);
        }
        assert!(read(b"k8s\0\xff").is_err() && read(b"5").is_err());
    }
}
