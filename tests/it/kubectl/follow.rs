//! Following changes: watches, waits, deletions, and a server that is gone for a while.

use super::programs::{each, ends};
use crate::support::until;

const DESK: &str =
    "apiVersion: meshagent.dev/v1\nkind: Room\nmetadata: {name: desk, labels: {team: red}}\nspec: {}\n";
const OFF: &str = r#"{"spec":{"enabled":false}}"#;

#[test]
fn a_watch_sees_every_change() {
    each(|kubectl| {
        kubectl.with(DESK, &["apply"]).ok();
        let all = kubectl.start(&["get", "rooms", "-w"], "all");
        let one =
            kubectl.start(&["get", "room", "desk", "-w", "-o", "jsonpath={.spec.enabled}{'\\n'}"], "one");
        let red = kubectl.start(&["get", "rooms", "-l", "team=red", "-w", "--output-watch-events"], "red");
        for watch in [&all, &red] {
            until("the list", || watch.said().contains("desk"));
        }
        until("the object", || one.said().contains("true"));
        kubectl.person.run(&["rooms", "create", "lab"]).ok();
        until("the room that was made", || all.said().contains("lab"));
        kubectl.ok(&["patch", "room", "desk", "--type=merge", "-p", OFF]);
        until("the change", || all.said().contains("Disabled") && one.said().contains("false"));
        until("the change among the red", || red.said().contains("MODIFIED"));
        // It is not among them any more.
        kubectl.ok(&["label", "room", "desk", "team-"]);
        until("its leaving", || red.said().contains("DELETED"));
        assert!(!red.said().contains("lab"), "{}", red.said());
    });
}

#[test]
fn waits_end_when_it_is_so() {
    each(|kubectl| {
        kubectl.with(DESK, &["apply"]).ok();
        kubectl.ok(&["wait", "--for=condition=Ready", "--timeout=60s", "room/desk"]);
        kubectl.fails(&["wait", "--for=condition=Stalled", "--timeout=1s", "room/desk"], &["timed out"]);
        let mut gone = kubectl.start(&["wait", "--for=delete", "--timeout=60s", "room/desk", "-v=6"], "gone");
        until("the wait", || gone.said().contains("watch=true"));
        kubectl.ok(&["delete", "room/desk", "--wait", "--timeout=60s"]);
        gone.ends();
        kubectl.fails(&["delete", "room/desk"], &["not found"]);
        kubectl.ok(&["delete", "room/desk", "--ignore-not-found"]);
        kubectl.person.run(&["get", "room/desk"]).fails(1, &["no room `desk`"]);
        kubectl.with(DESK, &["apply"]).ok();
        kubectl.ok(&["delete", "rooms", "--all", "--cascade=foreground"]);
        assert_eq!(kubectl.ok(&["get", "rooms", "-o", "name"]), "");
    });
}

#[test]
fn what_was_kept_is_there_after_a_crash() {
    ends(|kubectl| {
        kubectl.with(DESK, &["apply"]).ok();
        let version = kubectl.version("rooms");
        let before = kubectl.ok(&["get", "room/desk", "-o", "yaml"]);
        kubectl.server.kill_9();
        kubectl.server.restart();
        let after = kubectl.ok(&["get", "room/desk", "-o", "yaml"]);
        assert_eq!(after, before, "the same certificate, the same object");
        assert_eq!(kubectl.with(DESK, &["diff"]).code, 0);
        kubectl.ok(&["patch", "room", "desk", "--type=merge", "-p", OFF]);
        let told = kubectl.since("rooms", "", &version);
        assert!(told.contains("MODIFIED") && told.contains("\"enabled\":false"), "{told}");
    });
}

#[test]
fn what_happened_before_a_watch_is_told_when_it_goes_on() {
    ends(|kubectl| {
        kubectl.with(DESK, &["apply"]).ok();
        let web = "apiVersion: meshagent.dev/v1\nkind: Service\nmetadata: {name: front}\n\
                   spec: {room: desk, external: {}, metadata: {name: Web 1}}\n";
        kubectl.with(web, &["apply"]).ok();
        // What an object stands on changed, and not the object.
        let before = kubectl.version("services");
        kubectl.ok(&["patch", "room", "desk", "--type=merge", "-p", OFF]);
        let told = kubectl.since("services", "", &before);
        assert!(told.contains("MODIFIED") && told.contains("front"), "{told}");
        // One with a name of its own that is gone, for those who asked for it alone.
        let before = kubectl.version("services");
        kubectl.ok(&["delete", "maservice", "front"]);
        let told = kubectl.since("services", "fieldSelector=metadata.name%3Dfront", &before);
        assert!(told.contains("DELETED") && told.contains("\"name\":\"front\""), "{told}");
        // One that went and came again has gone before it came.
        let before = kubectl.version("rooms");
        kubectl.ok(&["delete", "room", "desk"]);
        kubectl.with(DESK, &["apply"]).ok();
        let told = kubectl.since("rooms", "", &before);
        assert!(told.find("DELETED").unwrap() < told.find("ADDED").unwrap(), "{told}");
        // One that is not among those any more.
        let before = kubectl.version("rooms");
        kubectl.ok(&["label", "room", "desk", "team-"]);
        let told = kubectl.since("rooms", "labelSelector=team%3Dred", &before);
        assert!(told.contains("DELETED"), "{told}");
        let late = kubectl.path("rooms?watch=true&resourceVersion=99999999");
        kubectl.fails(&["get", "--raw", &late], &["list again"]);
    });
}
