//! Writing: by documents, by patches, tried only, and by several.

use super::programs::{Kubectl, each, ends, fails};
use crate::operator::root;

const DESK: &str =
    "apiVersion: meshagent.dev/v1\nkind: Room\nmetadata: {name: desk}\nspec: {enabled: true}\n";

fn enabled(kubectl: &Kubectl) -> String {
    kubectl.ok(&["get", "room/desk", "-o", "jsonpath={.spec.enabled}"])
}

/// Every document of `specs/` as an object, in a folder.
fn objects(kubectl: &Kubectl) {
    let mut arguments = vec!["export", "objects", "--as", "kubernetes"];
    let folders: Vec<String> = std::fs::read_dir(root().join("specs"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.is_dir()
                && !path.ends_with("invalid")
                && !path.ends_with("service-template")
                && !path.ends_with("secret")
        })
        .map(|path| path.display().to_string())
        .collect();
    for folder in &folders {
        arguments.extend(["-f", folder]);
    }
    kubectl.person.run(&arguments).ok();
}

#[test]
fn every_document_is_applied_and_then_nothing_differs() {
    each(|kubectl| {
        objects(kubectl);
        // What needs another comes after it in time: those that were refused are applied again.
        let mut tries = 0;
        while kubectl.run(&["apply", "-R", "-f", "objects"]).code != 0 {
            tries += 1;
            assert!(tries < 5, "{:#?}", kubectl.run(&["apply", "-R", "-f", "objects"]));
        }
        let again = kubectl.ok(&["apply", "-R", "-f", "objects"]);
        // Lists that leave out what the server fills in are sent again by the client, and change nothing.
        assert!(again.lines().any(|line| line.ends_with("unchanged")), "{again}");
        assert_eq!(kubectl.ok(&["diff", "-R", "-f", "objects"]), "", "nothing differs");
        let server_side = kubectl.ok(&["apply", "--server-side", "-R", "-f", "objects"]);
        assert_eq!(server_side.lines().count(), again.lines().count());
        kubectl.ok(&["wait", "--for=condition=Ready", "--timeout=60s", "rooms", "--all"]);
        // The server's own view of it is the same documents.
        let names = kubectl.ok(&["get", "-R", "-f", "objects", "-o", "name"]);
        assert_eq!(names.lines().count(), again.lines().count(), "{names}");
    });
}

#[test]
fn differences_and_dry_runs_change_nothing() {
    each(|kubectl| {
        let tried = kubectl.with(DESK, &["apply", "--dry-run=server"]).ok().stdout;
        assert!(tried.contains("created (server dry run)"), "{tried}");
        kubectl.fails(&["get", "room/desk"], &["not found"]);
        let new = kubectl.with(DESK, &["diff"]);
        assert!(new.code == 1 && new.stdout.contains("+  enabled: true"), "{new:#?}");
        kubectl.with(DESK, &["apply"]).ok();
        assert_eq!(kubectl.with(DESK, &["diff"]).code, 0);
        let off = DESK.replace("true", "false");
        for way in [&["diff"][..], &["diff", "--server-side"]] {
            let changed = kubectl.with(&off, way);
            assert_eq!(changed.code, 1, "{changed:#?}");
            let differing: Vec<&str> = changed
                .stdout
                .lines()
                .filter(|line| line.starts_with(['+', '-']) && !line.contains("desk"))
                .collect();
            assert!(
                differing.contains(&"-  enabled: true") && differing.contains(&"+  enabled: false"),
                "{changed:#?}"
            );
            assert!(!changed.stdout.contains("+  resourceVersion"), "{changed:#?}");
        }
        let tried = kubectl.with(&off, &["apply", "--dry-run=server"]).ok().stdout;
        assert!(tried.contains("configured (server dry run)"), "{tried}");
        kubectl.ok(&["delete", "room/desk", "--dry-run=server"]);
        assert_eq!(enabled(kubectl), "true");
        let history = kubectl.person.run(&["history", "room/desk", "-o", "json"]).ok().stdout;
        assert!(!history.contains("room.updated") && !history.contains("room.deleted"), "{history}");
    });
}

#[test]
fn objects_are_edited_patched_labelled_and_replaced() {
    ends(|kubectl| {
        kubectl.with(DESK, &["apply"]).ok();
        kubectl.ok(&["patch", "room", "desk", "--type=merge", "-p", r#"{"spec":{"enabled":false}}"#]);
        assert_eq!(enabled(kubectl), "false");
        let steps = r#"[{"op":"test","path":"/spec/enabled","value":false},
                        {"op":"replace","path":"/spec/enabled","value":true}]"#;
        kubectl.ok(&["patch", "room", "desk", "--type=json", "-p", steps]);
        assert_eq!(enabled(kubectl), "true");
        kubectl
            .fails(&["patch", "room", "desk", "--type=json", "-p", steps], &["testing /spec/enabled failed"]);
        kubectl.fails(&["patch", "room", "desk", "-p", "{}"], &["merge-patch"]);
        let editor =
            kubectl.person.file("editor", "#!/bin/sh\nsed -i 's/enabled: true/enabled: false/' \"$1\"\n");
        let made = std::process::Command::new("chmod").args(["+x", &editor]).status().unwrap();
        assert!(made.success());
        let edited = kubectl.command(&["edit", "room", "desk"]).env("EDITOR", &editor).output().unwrap();
        assert!(edited.status.success(), "{edited:?}");
        assert_eq!(enabled(kubectl), "false");
        kubectl.ok(&["label", "room", "desk", "team=red"]);
        kubectl.ok(&["annotate", "room", "desk", "note=x"]);
        kubectl.ok(&["label", "room", "desk", "team-"]);
        let object = kubectl.ok(&["get", "room/desk", "-o", "json"]);
        assert!(object.contains(r#""note": "x""#) && !object.contains("team"), "{object}");
        assert!(object.contains("last-applied-configuration"), "{object}");
        kubectl.with(DESK, &["replace"]).ok();
        assert_eq!(enabled(kubectl), "true");
        // A version that somebody read before is not written over.
        let old = kubectl.ok(&["get", "room/desk", "-o", "json"]);
        kubectl.ok(&["patch", "room", "desk", "--type=merge", "-p", r#"{"spec":{"enabled":false}}"#]);
        fails(&kubectl.with(&old, &["replace"]), &["Conflict", "the object has been modified"]);
    });
}

#[test]
fn mistakes_are_named_by_field_and_change_nothing() {
    ends(|kubectl| {
        kubectl.with(DESK, &["apply"]).ok();
        let unknown = DESK.replace("{enabled: true}", "{enabeld: true}");
        // Older ones check by themselves, newer ones have the server do it.
        fails(&kubectl.with(&unknown, &["apply"]), &["enabeld"]);
        let sure = kubectl.with(&unknown, &["apply", "--validate=false"]);
        fails(&sure, &["spec.enabeld", "did you mean `enabled`?"]);
        let task = "apiVersion: meshagent.dev/v1\nkind: ScheduledTask\nmetadata: {name: t}\n\
                    spec: {room: desk, schedule: often, queue: {name: q}}\n";
        fails(&kubectl.with(task, &["create"]), &["spec.schedule"]);
        let lost = task.replace("room: desk", "room: nowhere").replace("often", "\"0 * * * *\"");
        fails(&kubectl.with(&lost, &["create"]), &["spec.room", "nowhere"]);
        let typed = DESK.replace("name: desk", "name: lab, lables: {a: b}");
        fails(
            &kubectl.with(&typed, &["create", "--validate=false"]),
            &["metadata.lables", "did you mean `labels`?"],
        );
        let bomb: Vec<String> =
            (0..60).map(|n| format!(r#"{{"op":"copy","from":"","path":"/spec/x{n}"}}"#)).collect();
        let bomb = format!("[{}]", bomb.join(","));
        kubectl.fails(&["patch", "room", "desk", "--type=json", "-p", &bomb], &["copies more than"]);
        let named = DESK.replace("name: desk", "name: Desk");
        fails(&kubectl.with(&named, &["create", "--validate=false"]), &["metadata.name"]);
        fails(&kubectl.with(DESK, &["create"]), &["AlreadyExists"]);
        let moved = r#"{"spec":{"metadata":{"name":"other"}}}"#;
        kubectl.fails(
            &["patch", "room", "desk", "--type=merge", "-p", moved],
            &["spec.metadata.name", "cannot be changed"],
        );
        kubectl
            .fails(&["delete", "serviceaccounts.meshagent.dev", "default"], &["the project's own account"]);
        assert_eq!(kubectl.ok(&["get", "rooms", "-o", "name"]).trim(), "room.meshagent.dev/desk");
        assert_eq!(enabled(kubectl), "true");
    });
}

#[test]
fn two_managers_do_not_overwrite_each_other_unknowingly() {
    ends(|kubectl| {
        let off = DESK.replace("true", "false");
        kubectl.with(DESK, &["apply", "--server-side", "--field-manager=one"]).ok();
        let refused = kubectl.with(&off, &["apply", "--server-side", "--field-manager=two"]);
        fails(&refused, &["conflict with \"one\"", ".spec.enabled"]);
        assert_eq!(enabled(kubectl), "true");
        kubectl.with(&off, &["apply", "--server-side", "--field-manager=two", "--force-conflicts"]).ok();
        assert_eq!(enabled(kubectl), "false");
        let object = kubectl.ok(&["get", "--raw", &kubectl.path("rooms/desk")]);
        assert!(object.contains(r#""manager":"two""#) && object.contains(r#""f:enabled""#), "{object}");
        // What `meshagent apply` holds is held too.
        kubectl.person.file("lab.yaml", "version: v1\nkind: Room\nmetadata: {name: lab}\nenabled: false\n");
        kubectl.person.run(&["apply", "-f", "lab.yaml"]).ok();
        let lab = DESK.replace("desk", "lab");
        fails(&kubectl.with(&lab, &["apply", "--server-side"]), &["conflict with \"cli\""]);
        // A field that is left out goes, where nobody else holds it; going from one way of applying to the other too.
        let noted = "apiVersion: meshagent.dev/v1\nkind: Room\nmetadata: {name: shop}\n\
                     spec: {metadata: {annotations: {a: b, c: d}}}\n";
        kubectl.with(noted, &["apply"]).ok();
        kubectl.with(&noted.replace("a: b, ", ""), &["apply", "--server-side"]).ok();
        let labelled = "apiVersion: meshagent.dev/v1\nkind: Room\nmetadata: {name: desk, labels: {team: red}}\nspec: {}\n";
        kubectl.with(labelled, &["apply", "--server-side", "--field-manager=three"]).ok();
        let plain = labelled.replace(", labels: {team: red}", "");
        kubectl.with(&plain, &["apply", "--server-side", "--field-manager=three"]).ok();
        assert_eq!(
            kubectl.ok(&["get", "room/desk", "-o", "jsonpath={.metadata.labels}"]),
            "",
            "a label goes too"
        );
        let notes = kubectl.ok(&["get", "room/shop", "-o", "jsonpath={.spec.metadata.annotations}"]);
        assert!(notes.contains('d') && !notes.contains('b'), "{notes}");
    });
}

#[test]
fn an_object_keeps_the_name_that_it_was_given() {
    ends(|kubectl| {
        kubectl.with(DESK, &["apply"]).ok();
        let web = "apiVersion: meshagent.dev/v1\nkind: Service\nmetadata: {name: front}\n\
                   spec: {room: desk, external: {}, metadata: {name: Web 1}}\n";
        kubectl.with(web, &["apply"]).ok();
        let again = kubectl.with(web, &["apply"]).ok().stdout;
        assert!(again.contains("unchanged"), "{again}");
        kubectl.person.run(&["get", "service/Web 1", "--room", "desk"]).ok();
        let other = web.replace("front", "back");
        fails(&kubectl.with(&other, &["apply"]), &["AlreadyExists", "front"]);
        kubectl.ok(&["delete", "maservice", "front"]);
        kubectl.with(&other, &["apply"]).ok();
        assert_eq!(kubectl.ok(&["get", "maservice", "-o", "name"]).trim(), "service.meshagent.dev/back");
    });
}
