//! `route`.

use super::steps::{self, Step, step};
use super::{Tool, make_room};
use crate::support::clients;
use crate::support::server::Server;

const ROUTE: &str = "
version: v1
kind: Route
metadata: {name: file}
domain: file.example
backend: {room: {name: desk}}
paths:
- {path: /, targetPort: 8000, unavailable: down.html}
- {path: /assets, targetContent: {subpath: assets, cors: [{allowedOrigins: ['*']}]}}
";

pub(super) const STEPS: &[&[Step]] = &[
    &[
        step("route create -d port.example --room desk --port 8000", &["Created route: port.example"]),
        step(
            "route create -d docs.example --room desk --content-path /site/ --index --iap --compression gzip",
            &["Created route: docs.example"],
        ),
        step("route create -f route.yaml", &["Created route: file.example"]),
    ],
    &[
        // For a conflict and for what is not there its library has errors of its own, which the tool does not expect: the
        // answer is on standard error.
        step("route create -d PORT.example --room desk --port 1", &[]).exits(1),
        step("route create -d 'not a domain' --room desk --port 1", &[]).exits(1),
        step("route get port.example", &["'domain': 'port.example'", "'targetPort': '8000'"]),
        step("route get nobody.example", &[]).exits(1),
        step("route list", &["port.example", "docs.example", "file.example", "gzip", "site"]),
        step("route list --room desk --filter docs -o json", &["'routes': [", "'iap': True"]),
    ],
    &[
        step("route update port.example --port 9000", &["Updated route: port.example"]),
        step("route update docs.example --no-iap", &["Updated route: docs.example"]),
        step("route update file.example --port web", &["Updated route: file.example"]),
    ],
    &[
        step("route get port.example", &["'targetPort': '9000'"]),
        step("route get docs.example", &["'iap': False", "'index': True"]),
        step("route get file.example", &["'targetPort': 'web'", "'unavailable': 'down.html'", "'/assets'"]),
    ],
    &[
        step("route delete port.example", &["Route deleted: port.example"]),
        step("route delete nobody.example", &[]).exits(1),
    ],
];

#[test]
fn routes() {
    let Some(python) = clients::python() else { return };
    let server = Server::start(&[]);
    make_room(&server);
    let tool = Tool::new(python, &server);
    tool.write("route.yaml", ROUTE);
    steps::run_all(&tool, STEPS);
}
