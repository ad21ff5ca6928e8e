//! Which port of which service a route means.

use super::site::Site;
use crate::domain::service::Service;
use crate::id::ServiceId;
use crate::spec::{Port, PortNumber, PortType, SERVICE_ID, TargetPort};

/// A published port of a service in the room.
#[derive(Debug)]
pub struct Found<'w> {
    pub service: ServiceId,
    /// Its place among the ports of the service.
    pub index: usize,
    pub port: &'w Port,
    /// Endpoints whose path the request's begins with, the longest first.
    endpoints: Vec<&'w crate::spec::Endpoint>,
}

impl<'w> Found<'w> {
    /// An annotation of the endpoint, else of the port.
    #[must_use]
    pub fn note(&self, key: &str) -> Option<&'w str> {
        let of_endpoints = self.endpoints.iter().filter_map(|endpoint| endpoint.annotations.as_ref());
        let all = of_endpoints.chain(self.port.annotations.as_ref());
        all.filter_map(|notes| notes.get(key)).map(String::as_str).find(|text| !text.trim().is_empty())
    }
}

/// What a target names.
#[derive(Debug, PartialEq, Eq)]
struct Wanted<'a> {
    /// A service by name or id.
    service: Option<&'a str>,
    port: Option<u16>,
}

impl<'a> Wanted<'a> {
    /// `PORT`, `SERVICE` or `SERVICE:PORT`.
    fn read(target: &'a TargetPort) -> Option<Self> {
        let text = match target {
            TargetPort::Number(port) => return Some(Self { service: None, port: Some(*port) }),
            TargetPort::Name(text) => text.trim(),
        };
        if let Ok(port) = text.parse() {
            return Some(Self { service: None, port: Some(port) });
        }
        match text.split_once(':') {
            None => Some(Self { service: Some(text).filter(|text| *text != "*"), port: None }),
            Some((service, port)) => {
                Some(Self { service: Some(service.trim()), port: Some(port.trim().parse().ok()?) })
            }
        }
    }
}

/// The first published port that the route means; services of the room come before those of the project. `segments`:
/// the path as the service sees it.
#[must_use]
pub fn find<'w>(site: &Site<'w>, target: &TargetPort, segments: &[String]) -> Option<Found<'w>> {
    let wanted = Wanted::read(target)?;
    let logical = site.route.spec.metadata.annotations.get(SERVICE_ID).map(String::as_str);
    let of_project = || site.world.services(site.room.project());
    let own = of_project().filter(|(_, service)| service.room == Some(site.room));
    let shared = of_project().filter(|(_, service)| service.room.is_none());
    own.chain(shared).filter(|(_, service)| service.spec.enabled).find_map(|(id, service)| {
        let is_named = wanted.service.is_none_or(|name| is_called(id, service, name));
        // A target that names its service is more exact than the route's annotation.
        let is_logical = wanted.service.is_some() || logical.is_none_or(|of| is_called(id, service, of));
        let ports = service.spec.ports().iter().enumerate();
        let mut fitting = ports.filter(|(_, port)| is_published(port) && is_wanted(port, wanted.port));
        let (index, port) = fitting.next().filter(|_| is_named && is_logical)?;
        Some(Found { service: id, index, port, endpoints: endpoints(port, segments) })
    })
}

fn is_called(id: ServiceId, service: &Service, name: &str) -> bool {
    service.spec.metadata.name == name
        || service.spec.logical_id() == Some(name)
        || id.to_string().eq_ignore_ascii_case(name)
}

/// A port on the room's host is published unless it says that it is not.
fn is_published(port: &Port) -> bool {
    port.published.unwrap_or(port.host_port.is_some()) && port.r#type != Some(PortType::Tcp)
}

fn is_wanted(port: &Port, number: Option<u16>) -> bool {
    number.is_none_or(|number| port.num == PortNumber::Fixed(number) || port.host_port == Some(number))
}

fn endpoints<'w>(port: &'w Port, segments: &[String]) -> Vec<&'w crate::spec::Endpoint> {
    let length = |path: &str| path.split('/').filter(|segment| !segment.is_empty()).count();
    let begins = |path: &str| {
        let own: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
        // Services may read a path without its letter case and its parameters: what an endpoint asks for holds there too.
        let same = |(own, asked): (&&str, &String)| {
            own.eq_ignore_ascii_case(asked.split(';').next().unwrap_or_default())
        };
        own.len() <= segments.len() && own.iter().zip(segments).all(same)
    };
    let mut all: Vec<_> = port.endpoints.iter().filter(|endpoint| begins(&endpoint.path)).collect();
    all.sort_by_key(|endpoint| std::cmp::Reverse(length(&endpoint.path)));
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_target_is_a_port_a_service_or_both() {
        let read = |value| {
            let target: TargetPort = serde_json::from_value(value).unwrap();
            Wanted::read(&target).map(|wanted| (wanted.service.map(str::to_owned), wanted.port))
        };
        assert_eq!(read(json!(80)), Some((None, Some(80))));
        assert_eq!(read(json!("80")), Some((None, Some(80))));
        assert_eq!(read(json!("web")), Some((Some("web".into()), None)));
        assert_eq!(read(json!("web:80")), Some((Some("web".into()), Some(80))));
        assert_eq!(read(json!("*")), Some((None, None)));
        assert_eq!(read(json!("web:x")), None);
    }

    #[test]
    fn the_longest_endpoint_speaks_before_its_port() {
        let port: Port = serde_json::from_value(json!({"num": 80, "published": true,
            "annotations": {"meshagent.request.queue": "all", "other": "port"},
            "endpoints": [{"path": "/", "annotations": {"a": "root"}},
                {"path": "/hooks", "annotations": {"meshagent.request.queue": "hooks"}}]}))
        .unwrap();
        let note = |path: &str, key: &str| {
            let segments: Vec<String> =
                path.split('/').filter(|s| !s.is_empty()).map(str::to_owned).collect();
            let project = crate::id::ProjectId::new(uuid::Uuid::nil());
            let service = ServiceId::new(project, uuid::Uuid::nil());
            let found = Found { service, index: 0, port: &port, endpoints: endpoints(&port, &segments) };
            found.note(key).map(str::to_owned)
        };
        assert_eq!(note("/hooks/x", "meshagent.request.queue").as_deref(), Some("hooks"));
        assert_eq!(note("/hooksx", "meshagent.request.queue").as_deref(), Some("all"));
        assert_eq!(note("/hooks", "a").as_deref(), Some("root"));
        assert_eq!(note("/", "none"), None);
        assert!(is_published(&port) && is_wanted(&port, Some(80)) && !is_wanted(&port, Some(81)));
        let tcp: Port = serde_json::from_value(json!({"num": 1, "published": true, "type": "tcp"})).unwrap();
        let hidden: Port = serde_json::from_value(json!({"num": 1})).unwrap();
        let host: Port = serde_json::from_value(json!({"num": 1, "host_port": 2})).unwrap();
        assert!(!is_published(&tcp) && !is_published(&hidden) && is_published(&host));
    }
}
