//! Forges that tell of pushes, and are told what became of them.

use super::hostile::secret;
use super::*;
use std::io::{Read, Write};
use std::net::TcpStream;

/// Posts to the hook of a source as a forge does; the status of the answer.
fn hook(server: &Server, path: &str, header: &str, body: &str) -> String {
    let address = server.url.trim_start_matches("http://");
    let mut stream = TcpStream::connect(address).unwrap();
    let length = body.len();
    write!(stream, "POST {path} HTTP/1.1\r\nHost: {address}\r\nContent-Length: {length}\r\n{header}\r\nConnection: close\r\n\r\n{body}").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn a_push_that_the_forge_tells_of_is_applied_at_once() {
    let (server, person) = server();
    let forge = Forge::start();
    forge.write("a.yaml", &room("a", "red"));
    forge.push("one");
    secret(&person, "push", "It's a Secret to Everybody");
    secret(&person, "token", "forge-token");
    let more = format!("webhook: {{secret: push}}\ncommit_status: {{url: '{}', secret: token}}", forge.api());
    apply(&person, &source("shop", &forge.url(), &more));
    apply(&person, &source("closed", &forge.url(), "suspend: true"));
    person.run(&["wait", "git-source/shop", "--timeout", "60s"]).ok();
    forge.write("b.yaml", &room("b", "red"));
    forge.push("two");

    let path = |name: &str| format!("/v1/projects/{}/sources/{name}/hook", server.project_id);
    let body = "Hello, World!";
    // As GitHub's documentation has it.
    let signature = "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
    let signed = format!("X-Hub-Signature-256: sha256={signature}");
    let forged = signed.replace("757", "000");
    for (name, header, body) in [
        ("shop", "X-None: 1", body),
        ("shop", forged.as_str(), body),
        ("shop", signed.as_str(), "Hello, world!"),
        ("shop", "X-Gitlab-Token: wrong", body),
        ("closed", signed.as_str(), body),
        ("gone", signed.as_str(), body),
    ] {
        let answer = hook(&server, &path(name), header, body);
        assert!(answer.starts_with("HTTP/1.1 403"), "{name} {header}: {answer}");
        assert!(!answer.contains("no git source `"), "who does not know the secret learns nothing: {answer}");
    }
    let strange = format!("/v1/projects/{}/sources/shop/hook", uuid::Uuid::nil());
    assert!(hook(&server, &strange, &signed, body).starts_with("HTTP/1.1 403"));
    let before = forge.fetches();
    assert!(hook(&server, &path("shop"), &signed, body).starts_with("HTTP/1.1 202"));
    eventually("the push is applied", || rooms(&person) == ["a", "b"]);
    assert!(forge.fetches() > before);

    // The forge is told what became of each commit.
    forge.write("b.yaml", "kind: Rom\n");
    let bad = forge.push("bad");
    refused(&person, "shop", &["b.yaml"]);
    eventually("the forge is told", || forge.posted().iter().any(|(path, ..)| path.ends_with(&bad)));
    let posted = forge.posted();
    let (_, authorization, good) = &posted[0];
    assert_eq!(authorization, "Bearer forge-token");
    assert!(good.contains("\"success\"") && good.contains("meshagent/shop"), "{good}");
    let (path, _, body) = posted.iter().find(|(path, ..)| path.ends_with(&bad)).unwrap();
    assert!(
        path.starts_with("/status/statuses/") && body.contains("\"failure\"") && body.contains("b.yaml"),
        "{path} {body}"
    );
}
