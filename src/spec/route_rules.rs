//! Rules between the fields of a route.

use super::problem::{Finding, Path, shown};
use super::{Content, Route, RoutePath};

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
    for (at, path) in route.paths.iter().enumerate() {
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

fn check_content(content: &Content, here: &Path, out: &mut Vec<Finding>) {
    if content.subpath.split('/').any(|segment| segment == "." || segment == "..") {
        out.push(Finding::new(here.key("subpath"), "the segments `.` and `..` are not allowed"));
    }
    for (at, rule) in content.cors.iter().enumerate() {
        if rule.allow_credentials && rule.allowed_origins.iter().any(|origin| origin == "*") {
            let path = here.key("cors").index(at).key("allowCredentials");
            let finding = Finding::new(path, "credentials cannot be allowed for every origin");
            out.push(finding.hint("name the origins instead of `*`"));
        }
    }
}
