//! Rules between the fields of a route.

use super::problem::{Finding, Path, shown};
use super::{Content, Route, RoutePath, TargetPort};

/// Most paths of one route.
pub const PATHS_MAX: usize = 100;

pub(super) fn check(route: &Route) -> Vec<Finding> {
    let mut out = Vec::new();
    if route.domain.trim().is_empty() || route.domain.contains(['/', ' ']) {
        out.push(Finding::new(Path::of("domain"), format!("`{}` is not a domain", shown(&route.domain))));
    }
    match (&route.backend.room, &route.backend.agent) {
        (Some(_), None) if route.paths.is_empty() => {
            let finding = Finding::new(Path::of("paths"), "a route to a room needs at least one path");
            out.push(finding.hint("add `paths: [{path: /, targetPort: …}]`"));
        }
        (Some(_), None) | (None, Some(_)) => {}
        (Some(_), Some(_)) | (None, None) => {
            out.push(Finding::new(Path::of("backend"), "the backend is exactly one of `room` and `agent`"));
        }
    }
    if route.paths.len() > PATHS_MAX {
        out.push(Finding::new(Path::of("paths"), format!("a route has at most {PATHS_MAX} paths")));
    }
    for (at, path) in route.paths.iter().take(PATHS_MAX).enumerate() {
        let same = |other: &&RoutePath| other.path == path.path && other.path_type == path.path_type;
        let here = Path::of(&format!("paths[{at}]"));
        if route.paths.iter().take(at).any(|other| same(&other)) {
            let message = format!("there is another path `{}` of this type", shown(&path.path));
            out.push(Finding::new(here.key("path"), message));
        }
        let here = Path::of(&format!("paths[{at}]"));
        check_path(path, &here, &mut out);
        if route.backend.agent.is_some() && path.target_content.as_ref().is_none_or(|content| content.iap) {
            let message = "a route to an agent serves only content, without `iap`";
            out.push(Finding::new(here.clone(), message));
        }
    }
    out
}

fn check_path(path: &RoutePath, here: &Path, out: &mut Vec<Finding>) {
    if !path.path.starts_with('/') {
        out.push(Finding::new(here.key("path"), format!("`{}` does not begin with `/`", shown(&path.path))));
    }
    if has_dots(&path.path) || path.path.contains(['?', '#', '%', '\\', '\0']) {
        let message = format!("`{}` is not a plain path", shown(&path.path));
        let hint = "write it decoded, without `.` and `..` segments, `?`, `#`, `%` and backslashes";
        out.push(Finding::new(here.key("path"), message).hint(hint));
    }
    if path
        .target_port
        .as_ref()
        .is_some_and(|port| matches!(port, TargetPort::Name(name) if name.trim().is_empty()))
    {
        out.push(Finding::new(here.key("targetPort"), "the port is empty"));
    }
    file(path.unavailable.as_deref(), here.key("unavailable"), out);
    match (&path.target_port, &path.target_content) {
        (Some(_), Some(_)) | (None, None) => {
            let message = "a path has exactly one of `targetPort` and `targetContent`";
            out.push(Finding::new(here.clone(), message));
        }
        (None, Some(content)) => {
            if path.strip_prefix {
                out.push(Finding::new(here.key("stripPrefix"), "`stripPrefix` works only with `targetPort`"));
            }
            if path.unavailable.is_some() {
                out.push(Finding::new(here.key("unavailable"), "`unavailable` works only with `targetPort`"));
            }
            check_content(content, &here.key("targetContent"), out);
        }
        (Some(_), None) => {}
    }
}

fn has_dots(path: &str) -> bool {
    path.split('/').any(|segment| segment == "." || segment == "..")
}

/// A file that is shown in place of another.
fn file(path: Option<&str>, here: Path, out: &mut Vec<Finding>) {
    let Some(path) = path.map(|path| path.trim().trim_matches('/')) else { return };
    if path.is_empty() {
        out.push(Finding::new(here, "the path is empty"));
    } else if has_dots(path) {
        out.push(Finding::new(here, "the segments `.` and `..` are not allowed"));
    }
}

fn check_content(content: &Content, here: &Path, out: &mut Vec<Finding>) {
    file(content.not_found.as_deref(), here.key("notFound"), out);
    if has_dots(&content.subpath) {
        out.push(Finding::new(here.key("subpath"), "the segments `.` and `..` are not allowed"));
    }
    for (at, rule) in content.cors.iter().enumerate() {
        let lists = [
            ("allowedOrigins", &rule.allowed_origins, true),
            ("allowedMethods", &rule.allowed_methods, true),
            ("allowedHeaders", &rule.allowed_headers, false),
            ("exposeHeaders", &rule.expose_headers, false),
        ];
        for (name, list, needed) in lists {
            if (needed && list.is_empty()) || list.iter().any(|item| !is_header_text(item)) {
                let path = here.key("cors").index(at).key(name);
                out.push(Finding::new(
                    path,
                    "every item is a text without spaces, commas and control characters",
                ));
            }
        }
        if rule.allow_credentials && rule.allowed_origins.iter().any(|origin| origin == "*") {
            let path = here.key("cors").index(at).key("allowCredentials");
            let finding = Finding::new(path, "credentials cannot be allowed for every origin");
            out.push(finding.hint("name the origins instead of `*`"));
        }
    }
}

/// Whether a text can stand in a list within a header.
fn is_header_text(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b',')
}
