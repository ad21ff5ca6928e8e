//! JSON Schema of every kind, made from the types.

use super::{
    ApiKey, ApiScope, Document, Feed, GitSource, Kind, Mailbox, ManagedAgent, Project, Room, RoomRoles,
    Route, ScheduledTask, Secret, Service, ServiceAccount, ServiceInstance, ServiceTemplate, Subscription,
};
use schemars::{JsonSchema, generate::SchemaSettings};
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::sync::LazyLock;

/// A typed kind.
pub trait Spec: Clone + DeserializeOwned + JsonSchema {
    const KIND: Kind;
    fn into_document(self) -> Document;
}

macro_rules! kinds {
    ($($kind:ident),* $(,)?) => {
        $(impl Spec for $kind {
            const KIND: Kind = Kind::$kind;
            fn into_document(self) -> Document { Document::$kind(self) }
        })*

        static SCHEMAS: LazyLock<Vec<(Kind, Value)>> = LazyLock::new(|| {
            vec![$((Kind::$kind, make::<$kind>())),*]
        });
    };
}

kinds!(
    Project,
    RoomRoles,
    Room,
    ServiceAccount,
    Secret,
    ApiKey,
    Service,
    ServiceTemplate,
    ServiceInstance,
    ScheduledTask,
    Mailbox,
    Feed,
    Subscription,
    Route,
    ManagedAgent,
    GitSource
);

static SCOPE: LazyLock<Value> = LazyLock::new(make::<ApiScope>);

/// Every kind, in the order in which they depend on each other.
pub const fn kinds() -> [Kind; 16] {
    Kind::ALL
}

/// JSON Schema (draft 2020-12) of a kind.
pub fn json_schema(kind: Kind) -> &'static Value {
    let found = SCHEMAS.iter().find(|(known, _)| *known == kind);
    found.map_or(&Value::Null, |(_, schema)| schema)
}

/// Every kind with its schema.
pub fn all() -> &'static [(Kind, Value)] {
    &SCHEMAS
}

/// JSON Schema of the `api` grant.
pub(super) fn scope() -> &'static Value {
    &SCOPE
}

/// A schema as the text of a file under `schemas/`.
pub fn to_file_text(schema: &Value) -> String {
    format!("{schema:#}\n")
}

fn make<T: JsonSchema>() -> Value {
    SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<T>().to_value()
}
