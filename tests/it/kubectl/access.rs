//! Who may: nobody without a key, nobody in another's project, no participant.

use super::programs::{Kubectl, ends, fails};
use crate::cli::Person;
use std::os::unix::fs::PermissionsExt;

/// A participant that may look, and no more.
const TOKEN: &str = "version: v1\nkind: ParticipantToken\nroom: desk\nidentity: viewer\napi: {llm: {}}\n";

#[test]
fn strangers_are_refused() {
    ends(|kubectl| {
        let person = &kubectl.person;
        person.run(&["rooms", "create", "desk"]).ok();
        kubectl.fails(&["get", "rooms", "--token=ma-nothing"], &["logged in"]);
        let nobody = ["get", "rooms", "--token=eyJhbGciOiJub25lIn0.e30."];
        kubectl.fails(&nobody, &["logged in"]);

        // A project of somebody else on the same server.
        let other = person.run(&["project", "create", "other"]).ok().stdout.trim().to_owned();
        let make = [
            "service-account",
            "api-key",
            "create",
            "--service-account",
            "default",
            "k",
            "--project-id",
            &other,
        ];
        let key = person.run(&make).ok().stdout.trim().to_owned();
        let stranger = |arguments: &[&str]| {
            let mut all = vec!["--token", &key];
            all.extend(arguments);
            kubectl.run(&all)
        };
        let own = &kubectl.server.project_id;
        fails(&stranger(&["get", "rooms"]), &["Forbidden"]);
        fails(&stranger(&["get", "room", "desk"]), &["Forbidden"]);
        fails(&stranger(&["delete", "room", "desk"]), &["Forbidden"]);
        // Whether there is a project of a name, strangers are not told.
        fails(&stranger(&["get", "rooms", "-n", "there-is-none"]), &["Forbidden"]);
        fails(&stranger(&["get", "namespace", own]), &["Forbidden"]);
        let seen = stranger(&["get", "namespaces", "-o", "wide"]).ok().stdout;
        assert!(seen.contains(&other) && !seen.contains(own.as_str()), "{seen}");
        assert!(!stranger(&["get", "rooms", "-A"]).ok().stdout.contains("desk"));
        assert_eq!(stranger(&["auth", "can-i", "create", "rooms", "-n", &other]).stdout.trim(), "yes");
        assert!(stranger(&["auth", "can-i", "create", "rooms"]).stdout.starts_with("no"));
        // The operator of the server sees both.
        assert!(kubectl.ok(&["get", "namespaces", "-o", "wide"]).contains(&other));
        fails(&kubectl.run(&["get", "rooms", "-n", "there-is-none"]), &["NotFound"]);
        assert_eq!(kubectl.ok(&["get", "rooms", "-n", "other", "-o", "name"]), "", "by its name too");
    });
}

/// The status of an answer to a request without any credential.
fn bare(kubectl: &Kubectl, method: &str, path: &str) -> (String, String) {
    let url = format!("{}{path}", kubectl.server.url);
    let done = std::process::Command::new("curl")
        .args(["-s", "-m", "20", "-w", "\n%{http_code}", "-X", method, &url])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    let (body, code) = said.rsplit_once('\n').unwrap();
    (code.to_owned(), body.to_owned())
}

#[test]
fn nothing_but_the_version_is_told_without_a_credential() {
    ends(|kubectl| {
        let namespace = format!("/apis/meshagent.dev/v1/namespaces/{}", kubectl.server.project_id);
        let rooms = format!("{namespace}/rooms");
        let (room, watch) = (format!("{rooms}/desk"), format!("{rooms}?watch=true"));
        let review = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
        for (method, path) in [
            ("GET", "/api"),
            ("GET", "/apis"),
            ("GET", "/api/v1/namespaces"),
            ("GET", "/apis/meshagent.dev/v1"),
            ("GET", "/apis/meshagent.dev/v1/rooms"),
            ("GET", "/openapi/v2"),
            ("GET", "/openapi/v3"),
            ("GET", "/apis/nothing"),
            ("POST", review),
            ("GET", &rooms),
            ("GET", &watch),
            ("POST", &rooms),
            ("GET", &room),
            ("PUT", &room),
            ("PATCH", &room),
            ("DELETE", &room),
        ] {
            let (code, body) = bare(kubectl, method, path);
            assert!(
                code == "401" && body.contains(r#""reason":"Unauthorized""#),
                "{method} {path}: {code} {body}"
            );
        }
        assert_eq!(bare(kubectl, "GET", "/version").0, "200");
    });
}

#[test]
fn participants_are_refused() {
    ends(|kubectl| {
        let person = &kubectl.person;
        person.run(&["rooms", "create", "desk"]).ok();
        person.file("token.yaml", TOKEN);
        person
            .file("lab.yaml", "apiVersion: meshagent.dev/v1\nkind: Room\nmetadata: {name: lab}\nspec: {}\n");
        let token = person.run(&["token", "--input", "token.yaml"]).ok().stdout.trim().to_owned();
        let viewer = |arguments: &[&str]| {
            let mut all = vec!["--token", &token];
            all.extend(arguments);
            kubectl.run(&all)
        };
        fails(&viewer(&["get", "rooms"]), &["Forbidden", "API key"]);
        for arguments in [
            &["delete", "room", "desk"][..],
            &["get", "rooms", "-A"],
            &["get", "namespaces"],
            &["get", "room", "desk", "-w"],
            &["label", "room", "desk", "a=b"],
            &["create", "-f", "lab.yaml", "--validate=false"],
            &["apply", "--server-side", "-f", "lab.yaml", "--validate=false"],
        ] {
            fails(&viewer(arguments), &["Forbidden"]);
        }
        assert!(viewer(&["auth", "can-i", "list", "rooms"]).stdout.starts_with("no"));
        assert!(kubectl.ok(&["get", "rooms", "-o", "name"]).contains("desk"));
    });
}

#[test]
fn a_kubeconfig_needs_a_key() {
    let server = crate::support::server::Server::start(&[]);
    let person = Person::new().with("MESHAGENT_API_URL", &server.url);
    person.run(&["kubeconfig"]).fails(1, &["no API key"]);
    let person = Person::of(&server);
    person.run(&["kubeconfig", "--project", "shop"]).fails(1, &["no project `shop`"]);
    person.run(&["kubeconfig", "--project", &server.project_id, "--name", "mine", "--output", "config"]).ok();
    let text = std::fs::read_to_string(person.home().join("config")).unwrap();
    assert!(
        text.contains(&format!("namespace: {}", server.project_id)) && text.contains("current-context: mine"),
        "{text}"
    );
    assert!(
        text.contains("server: https://127.0.0.1") && text.contains("certificate-authority-data"),
        "{text}"
    );
    let mode = std::fs::metadata(person.home().join("config")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}
