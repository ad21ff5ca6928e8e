//! What there is, what it means, and what is listed.

use super::programs::{each, ends, fails};

const DESK: &str =
    "apiVersion: meshagent.dev/v1\nkind: Room\nmetadata: {name: desk, labels: {team: red}}\nspec: {}\n";
const MAIL: &str = "apiVersion: meshagent.dev/v1\nkind: Mailbox\nmetadata: {name: help}\n\
                    spec: {address: Help@mail.example.com, room: desk, queue: mail}\n";

#[test]
fn kinds_are_known_and_explained() {
    each(|kubectl| {
        let resources = kubectl.ok(&["api-resources", "--api-group=meshagent.dev", "-o", "wide"]);
        for word in ["rooms", "scheduledtasks", "matask", "meshagent.dev/v1", "watch", "ManagedAgent"] {
            assert!(resources.contains(word), "want `{word}` in {resources}");
        }
        assert!(kubectl.ok(&["api-versions"]).contains("meshagent.dev/v1"));
        assert!(kubectl.ok(&["version"]).contains("meshagent"), "its version is told");
        let room = kubectl.ok(&["explain", "rooms.spec"]);
        assert!(room.contains("enabled") && room.contains("refuses connections"), "{room}");
        let deep = kubectl.ok(&["explain", "maservice.spec.container.image"]);
        assert!(deep.to_lowercase().contains("image"), "{deep}");
        kubectl.fails(&["explain", "maservice.spec.nothing"], &["nothing"]);
        kubectl.fails(&["get", "pods"], &["pods"]);
    });
}

#[test]
fn objects_are_listed_in_every_form() {
    each(|kubectl| {
        kubectl.with(DESK, &["apply"]).ok();
        kubectl.with(MAIL, &["apply"]).ok();
        // One that nobody applied.
        kubectl.person.run(&["rooms", "create", "back-office"]).ok();
        let table = kubectl.ok(&["get", "maroom", "--show-labels"]);
        assert!(
            table.contains("READY") && table.contains("team=red") && table.contains("back-office"),
            "{table}"
        );
        let wide = kubectl.ok(&["get", "meshagent", "-o", "wide", "-A"]);
        for word in ["NAMESPACE", "room.meshagent.dev/desk", "mailbox.meshagent.dev/help", "MESSAGE"] {
            assert!(wide.contains(word), "want `{word}` in {wide}");
        }
        let names = kubectl.ok(&["get", "rooms", "-o", "name"]);
        assert_eq!(names.lines().count(), 2, "{names}");
        assert_eq!(kubectl.ok(&["get", "rooms", "--chunk-size=1", "-o", "name"]), names, "in pages");
        assert_eq!(
            kubectl.ok(&["get", "rooms", "-l", "team in (red)", "-o", "name"]).trim(),
            "room.meshagent.dev/desk"
        );
        assert_eq!(kubectl.ok(&["get", "rooms", "-l", "team!=red", "-o", "name"]).lines().count(), 1);
        let one = ["get", "rooms", "--field-selector", "metadata.name=desk", "-o", "name"];
        assert_eq!(kubectl.ok(&one).trim(), "room.meshagent.dev/desk");
        kubectl.fails(&["get", "rooms", "--field-selector", "spec.enabled=true"], &["not supported"]);
        kubectl.fails(&["get", "rooms", "-l", "team ~ red"], &["team"]);
        assert_eq!(
            kubectl.ok(&["get", "mamailbox", "help", "-o", "jsonpath={.spec.address}"]),
            "Help@mail.example.com"
        );
        let yaml = kubectl.ok(&["get", "room/desk", "-o", "yaml"]);
        for word in ["uid:", "resourceVersion:", "generation: 1", "observedGeneration: 1", "type: Ready"] {
            assert!(yaml.contains(word), "want `{word}` in {yaml}");
        }
        let described = kubectl.ok(&["describe", "room", "desk"]);
        assert!(described.contains("Conditions") && described.contains("team=red"), "{described}");
        fails(
            &kubectl.run(&["get", "room", "nobody"]),
            &["NotFound", "rooms.meshagent.dev \"nobody\" not found"],
        );
        let namespaces = kubectl.ok(&["get", "namespaces", "-o", "wide"]);
        assert!(namespaces.contains(&kubectl.server.project_id), "{namespaces}");
        fails(&kubectl.run(&["create", "namespace", "x"]), &["meshagent project create"]);
    });
}

#[test]
fn pages_go_on_from_one_namespace_to_the_next() {
    ends(|kubectl| {
        let person = &kubectl.person;
        // Their names are in another order than those of their objects with them.
        for name in ["a", "a-b"] {
            let id = person.run(&["project", "create", name]).ok().stdout.trim().to_owned();
            for room in ["one", "two"] {
                person.run(&["rooms", "create", room, "--project-id", &id]).ok();
            }
        }
        let all = kubectl.ok(&["get", "rooms", "-A", "-o", "name", "--chunk-size=0"]);
        assert_eq!(all.lines().count(), 4, "{all}");
        for size in ["--chunk-size=1", "--chunk-size=3"] {
            assert_eq!(kubectl.ok(&["get", "rooms", "-A", "-o", "name", size]), all);
        }
    });
}
