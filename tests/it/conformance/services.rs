//! Services on the official SDK that run elsewhere and are taken into rooms.

use crate::support::clients::{self, PythonClients};
use crate::support::script::Script;
use crate::support::server::Server;
use meshagent::client::rest::{Bearer, ProjectRest, Rest, ServiceBody, ServiceScope};
use serde_json::json;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

const HOST: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/conformance/service.py");

fn service(python: &PythonClients, port: u16, secret: &str) -> Script {
    assert!(Path::new(HOST).exists());
    let mut command = Command::new(&python.python);
    command.arg(HOST).arg(port.to_string()).env("MESHAGENT_WEBHOOK_SECRET", secret);
    Script::start(command)
}

fn project(server: &Server) -> ProjectRest {
    let rest = Rest::new(&server.url, Some(Bearer::new(server.api_key.clone()))).unwrap();
    rest.project(&server.project_id)
}

/// Over the socket that the server dials, through the deaths of either side, until the service is gone.
#[tokio::test(flavor = "multi_thread")]
async fn the_official_service_host_takes_part_over_the_socket_that_is_dialled() {
    let Some(python) = clients::python() else { return };
    let mut server = Server::start(&["--allow-host", "127.0.0.1"]);
    let secret = project(&server).webhook_secret().await.unwrap();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut host = service(python, port, &secret);
    let rest = Rest::new(&server.url, Some(Bearer::new(server.api_key.clone()))).unwrap();
    let rooms = ["accounts", "projects", &server.project_id, "rooms"];
    rest.post(&rooms, &json!({"name": "desk"})).await.unwrap();
    let scope = ServiceScope::Room("desk".to_owned());
    let spec = json!({
        "version": "v1", "kind": "Service", "metadata": {"name": "helper"},
        "external": {"url": format!("ws://127.0.0.1:{port}")},
        "ports": [{"num": "*", "endpoints": [{"path": "/agent", "meshagent": {"identity": "helper"}}]}],
    });
    let made = project(&server).create_service(&scope, &ServiceBody::Spec(spec)).await.unwrap();
    project(&server).connect("desk").await.unwrap();
    let joined = "joined helper";
    host.must_say(joined);

    server.kill_9();
    host.must_say("stopped");
    server.restart();
    host.must_say(joined);

    drop(host);
    let mut host = service(python, port, &secret);
    host.must_say(joined);

    project(&server).delete_service(&scope, made["id"].as_str().unwrap()).await.unwrap();
    host.must_say("stopped");
}
