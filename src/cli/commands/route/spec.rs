//! A `Route` document out of flags.

use crate::cli::args;
use crate::cli::error::CliError;
use crate::cli::settings;
use crate::spec::{
    self, Backend, BackendRef, Compression, Content, CorsRule, Document, NamedMetadata, PathType, Route,
    RouteKind, RoutePath, TargetPort, Version,
};
use serde_json::Value;
use std::collections::BTreeMap;

/// What a route is to be.
#[derive(Debug, clap::Args)]
pub struct Changes {
    /// A `Route` document, YAML or JSON
    #[arg(short, long, value_name = "FILE")]
    file: Option<String>,
    /// Room whose services or files answer [env: MESHAGENT_ROOM]
    #[arg(short, long, conflicts_with = "agent")]
    room: Option<String>,
    /// Managed agent whose files answer
    #[arg(long)]
    agent: Option<String>,
    /// Published port of a service in the room
    #[arg(short, long, conflicts_with_all = ["agent", "content_path", "cors", "index", "iap", "compression"])]
    port: Option<String>,
    /// Path that answers, with all below it [default: /]
    #[arg(long)]
    path: Option<String>,
    /// Folder of the room's or the agent's files to serve
    #[arg(long, visible_alias = "room-path", value_name = "FOLDER")]
    content_path: Option<String>,
    /// Who may read from pages of other origins, a JSON list of rules
    #[arg(long, value_name = "JSON", value_parser = cors)]
    cors: Option<Cors>,
    /// Serve index.html for folders
    #[arg(long, overrides_with = "no_index")]
    index: bool,
    #[arg(long, hide = true, overrides_with = "index")]
    no_index: bool,
    /// Only for people who signed in
    #[arg(long, overrides_with = "no_iap")]
    iap: bool,
    #[arg(long, hide = true, overrides_with = "iap")]
    no_iap: bool,
    /// How texts are compressed: brotli, gzip or none
    #[arg(long, value_parser = compression)]
    compression: Option<Compression>,
    /// Annotations, a JSON object of texts; meshagent.service.id says which service
    #[arg(short = 'n', long, value_name = "JSON", value_parser = annotations)]
    annotations: Option<Annotations>,
}

/// Where a document comes from.
pub enum Source {
    File(String),
    Flags,
}

#[derive(Debug, Clone)]
struct Cors(Vec<CorsRule>);

#[derive(Debug, Clone)]
struct Annotations(BTreeMap<String, String>);

fn cors(text: &str) -> Result<Cors, String> {
    if text.trim().is_empty() {
        return Ok(Cors(vec![]));
    }
    serde_json::from_value(args::json_value(text)?)
        .map(Cors)
        .map_err(|error| format!("not a list of rules such as [{{\"allowedOrigins\": [\"*\"]}}]: {error}"))
}

fn annotations(text: &str) -> Result<Annotations, String> {
    let text = if text.trim().is_empty() { "{}" } else { text };
    args::annotations(text).map(Annotations)
}

fn compression(text: &str) -> Result<Compression, String> {
    match text.trim().to_lowercase().as_str() {
        "brotli" => Ok(Compression::Brotli),
        "gzip" => Ok(Compression::Gzip),
        "none" => Ok(Compression::None),
        _ => Err("want brotli, gzip or none".to_owned()),
    }
}

impl Changes {
    /// A file says all there is.
    pub fn source(&self) -> Result<Source, CliError> {
        let Some(file) = &self.file else { return Ok(Source::Flags) };
        let others = self.room.is_some()
            || self.agent.is_some()
            || self.port.is_some()
            || self.path.is_some()
            || self.annotations.is_some()
            || self.has_content();
        if others {
            return Err(CliError::usage("--file says all of a route; leave the other options out"));
        }
        Ok(Source::File(file.clone()))
    }

    fn index(&self) -> Option<bool> {
        (self.index || self.no_index).then_some(self.index)
    }

    fn iap(&self) -> Option<bool> {
        (self.iap || self.no_iap).then_some(self.iap)
    }

    fn has_content(&self) -> bool {
        self.content_path.is_some()
            || self.cors.is_some()
            || self.index().is_some()
            || self.iap().is_some()
            || self.compression.is_some()
    }

    fn room(&self) -> Option<String> {
        let there = || settings::env("MESHAGENT_ROOM");
        self.room.clone().or_else(there).filter(|room| !room.is_empty())
    }

    /// What is named of the content, the rest as it was.
    fn content(self, old: Option<Content>) -> Result<Content, CliError> {
        if self.content_path.is_none() && old.is_none() {
            return Err(CliError::usage("options about files need --content-path"));
        }
        let old = old.unwrap_or_default();
        Ok(Content {
            index: self.index().unwrap_or(old.index),
            iap: self.iap().unwrap_or(old.iap),
            subpath: self.content_path.map_or(old.subpath, |path| path.trim_matches('/').to_owned()),
            cors: self.cors.map_or(old.cors, |cors| cors.0),
            compression: self.compression.unwrap_or(old.compression),
            not_found: old.not_found,
        })
    }
}

/// The one route in a file.
pub async fn from_file(path: &str) -> Result<Route, CliError> {
    let texts = crate::cli::documents::read(&[path.into()]).await?;
    let written = crate::cli::documents::parse(&texts)?;
    let mut routes = written.into_iter().filter_map(|written| match written.document {
        Document::Route(route) => Some(route),
        _ => None,
    });
    match (routes.next(), routes.next()) {
        (Some(route), None) => Ok(route),
        (None, _) => Err(CliError::user(format!("`{path}` has no Route document"))),
        (Some(_), Some(_)) => Err(CliError::user(format!("`{path}` has several Route documents"))
            .hint("make all of them with `meshagent apply -f`")),
    }
}

/// A new route.
pub fn made(domain: &str, changes: Changes) -> Result<Route, CliError> {
    if changes.port.is_none() && !changes.has_content() {
        return Err(
            CliError::usage("the route leads nowhere").hint("pass --port PORT or --content-path FOLDER")
        );
    }
    let backend = match (&changes.agent, changes.room()) {
        (Some(name), _) => of_agent(name),
        (None, Some(name)) => of_room(name),
        (None, None) => {
            return Err(CliError::usage("no room is named").hint("pass --room ROOM or set MESHAGENT_ROOM"));
        }
    };
    let annotations = changes.annotations.clone().map(|notes| notes.0).unwrap_or_default();
    let metadata = NamedMetadata { name: domain.to_owned(), annotations };
    let path = changes.path.clone().unwrap_or_else(|| "/".to_owned());
    let path = RoutePath { path, ..target(changes, None)? };
    let route = Route {
        version: Version::V1,
        kind: RouteKind::Mark,
        metadata,
        domain: domain.to_owned(),
        backend,
        paths: vec![path],
    };
    checked(route)
}

/// A route as it is, with changes to its first path.
pub fn changed(old: &Value, changes: Changes) -> Result<Route, CliError> {
    let old: Route = spec::from_json(old.clone()).map_err(|problems| {
        CliError::server(format!("the route cannot be read: {}", spec::summary(&problems)))
    })?;
    let backend = match (&changes.agent, changes.room.clone()) {
        (Some(name), _) => of_agent(name),
        (None, Some(name)) => of_room(name),
        (None, None) => old.backend.clone(),
    };
    let mut route = Route { backend, ..old };
    if let Some(annotations) = &changes.annotations {
        route.metadata.annotations.clone_from(&annotations.0);
    }
    let first = route.paths.first().cloned();
    let path = changes.path.clone().or_else(|| first.as_ref().map(|path| path.path.clone()));
    let path = path.unwrap_or_else(|| "/".to_owned());
    let changed = if changes.port.is_some() || changes.has_content() {
        target(changes, first)?
    } else {
        first
            .ok_or_else(|| CliError::usage("the route leads nowhere").hint("pass --port or --content-path"))?
    };
    let changed = RoutePath { path, ..changed };
    match route.paths.first_mut() {
        Some(first) => *first = changed,
        None => route.paths.push(changed),
    }
    checked(route)
}

/// A path to what the flags name.
fn target(changes: Changes, old: Option<RoutePath>) -> Result<RoutePath, CliError> {
    let old = old.unwrap_or_else(|| RoutePath {
        path: "/".to_owned(),
        path_type: PathType::Prefix,
        strip_prefix: false,
        target_port: None,
        target_content: None,
        unavailable: None,
    });
    let Some(port) = changes.port.clone() else {
        let content = changes.content(old.target_content)?;
        let none = (false, None, None);
        let (strip_prefix, target_port, unavailable) = none;
        return Ok(RoutePath {
            strip_prefix,
            target_port,
            unavailable,
            target_content: Some(content),
            ..old
        });
    };
    Ok(RoutePath { target_port: Some(TargetPort::Name(port)), target_content: None, ..old })
}

fn of_room(name: String) -> Backend {
    Backend { room: Some(BackendRef { name }), agent: None }
}

fn of_agent(name: &str) -> Backend {
    Backend { room: None, agent: Some(BackendRef { name: name.to_owned() }) }
}

fn checked(route: Route) -> Result<Route, CliError> {
    let problems = spec::validate(&Document::Route(route.clone()));
    if problems.is_empty() { Ok(route) } else { Err(CliError::usage(spec::summary(&problems))) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;
    use serde_json::json;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        changes: Changes,
    }

    fn flags(text: &str) -> Changes {
        Cli::try_parse_from(std::iter::once("x").chain(text.split_whitespace())).unwrap().changes
    }

    #[test]
    fn flags_make_what_the_official_tool_makes() {
        let port = made("a.b", flags("--room den --port 8000")).unwrap();
        assert_eq!(
            serde_json::to_value(&port).unwrap(),
            json!({"version": "v1", "kind": "Route", "metadata": {"name": "a.b", "annotations": {}}, "domain": "a.b",
                "backend": {"room": {"name": "den"}},
                "paths": [{"path": "/", "pathType": "prefix", "targetPort": "8000"}]})
        );
        let files =
            made("a.b", flags("--agent helper --path /x --content-path /s/ --index --compression GZIP"))
                .unwrap();
        assert_eq!(
            serde_json::to_value(&files.paths[0]).unwrap(),
            json!({"path": "/x", "pathType": "prefix", "targetContent": {"subpath": "s", "cors": [], "index": true,
                "iap": false, "compression": "gzip"}})
        );
    }

    #[test]
    fn what_is_not_named_stays() {
        let old = json!({"metadata": {"name": "n"}, "domain": "a.b", "backend": {"room": {"name": "den"}}, "paths": [
            {"path": "/a", "targetContent": {"subpath": "s", "index": true, "notFound": "404.html"}},
            {"path": "/b", "targetPort": 1}]});
        let route = changed(&old, flags("--no-index --iap")).unwrap();
        let content = route.paths[0].target_content.clone().unwrap();
        assert_eq!((content.index, content.iap, content.subpath.as_str()), (false, true, "s"));
        assert_eq!((content.not_found.as_deref(), route.paths.len()), (Some("404.html"), 2));
        let route = changed(&old, flags("--port 9 --room other")).unwrap();
        assert_eq!(route.paths[0].target_port, Some(TargetPort::Name("9".into())));
        assert_eq!(
            (route.paths[0].path.as_str(), route.backend.room.unwrap().name.as_str()),
            ("/a", "other")
        );
    }

    #[test]
    fn flags_that_make_no_route_are_refused() {
        for bad in [
            "--room den",
            "--room den --index",
            "--agent a --content-path x --iap",
            "--room den --port 1 --path x",
        ] {
            assert!(made("a.b", flags(bad)).is_err(), "{bad}");
        }
        for bad in
            ["--room a --agent b", "--port 1 --index", "--compression zip", "--cors {}", "--annotations []"]
        {
            assert!(
                Cli::try_parse_from(std::iter::once("x").chain(bad.split_whitespace())).is_err(),
                "{bad}"
            );
        }
        assert!(flags("--file x --room y").source().is_err());
    }
}
