//! The OpenAPI document, made from the table of routes.

use super::auth::Access;
use super::roles::{Need, needed};
use super::route::{Route, routes};
use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

/// The whole document, in a stable order.
#[must_use]
pub fn document() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|s| s.definitions_path = "/components/schemas".into());
    let mut generator = settings.into_generator();
    let mut paths: Map<String, Value> = Map::new();
    for route in routes() {
        let path = route.path.replace("{*", "{");
        let operation = operation(&route, &mut generator);
        let item = paths.entry(path).or_insert_with(|| json!({}));
        if let Some(item) = item.as_object_mut() {
            item.insert(route.method.as_str().to_lowercase(), operation);
        }
    }
    let schemas = Value::Object(generator.take_definitions(true));
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "meshagent",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "The REST interface of the MeshAgent platform, self-hosted.",
        },
        "paths": paths,
        "components": {
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer",
                "description": "An API key (ma-…) or a participant token (JWT)"}},
            "schemas": schemas,
        },
    })
}

fn operation(route: &Route, generator: &mut SchemaGenerator) -> Value {
    let parameters: Vec<Value> = route
        .path
        .split('/')
        .filter_map(|s| s.strip_prefix('{')?.strip_suffix('}'))
        .map(|name| {
            json!({"name": name.trim_start_matches('*'), "in": "path", "required": true, "schema": {"type": "string"}})
        })
        .collect();
    let mut operation = json!({
        "operationId": route.name,
        "summary": route.summary,
        "parameters": parameters,
        "responses": {"200": {"description": "done"}, "default": {"description": "an error, as {\"error\": {\"message\", \"code\"}}"}},
    });
    if route.access == Access::Open {
        operation["security"] = json!([]);
    } else {
        operation["security"] = json!([{"bearer": []}]);
        operation["description"] = json!(format!("For: {}.", who(route)));
    }
    if let Some(schema) = route.body {
        let schema = schema(generator);
        operation["requestBody"] = json!({"content": {"application/json": {"schema": schema}}});
    }
    operation
}

fn who(route: &Route) -> String {
    let people = match needed(route.name) {
        Need::SignedIn | Need::Settings | Need::SeesKind | Need::ManagesKind => String::new(),
        Need::Role(role) => format!("; of its members those with the role {role}"),
        Need::InRoom(least, or) => {
            format!("; of its members those with the role {least} in the room, or {or} in the project")
        }
    };
    let of_project = matches!(route.access, Access::Account | Access::Member);
    format!("{}{}", who_else(route.access), if of_project { people.as_str() } else { "" })
}

fn who_else(access: Access) -> &'static str {
    match access {
        Access::Open => "everybody",
        Access::SignedIn => "any valid credential",
        Access::Member => "service accounts and participants of the project",
        Access::Account => "service accounts of the project",
        Access::Operator => "operators of this server",
        Access::Models => {
            "whoever may use models: service accounts, participants with the `llm` grant, delegations"
        }
    }
}
