//! The operator against a real API server: definitions, every document of `specs/`, edits, drift, deletion, and either side
//! down in between.

use super::cluster::{Cluster, Operator, programs};
use super::documents::root;
use crate::cli::Person;
use crate::support::server::Server;
use crate::support::until;
use std::collections::BTreeSet;

const DESK: &str =
    "apiVersion: meshagent.dev/v1\nkind: Room\nmetadata: {name: lab, namespace: shop}\nspec: {}\n";

fn path(person: &Person, name: &str) -> String {
    person.home().join(name).display().to_string()
}

/// Applies a text with `kubectl`.
fn put(cluster: &Cluster, person: &Person, text: &str) {
    person.file("object.yaml", text);
    cluster.kubectl(&["apply", "-f", &path(person, "object.yaml")]);
}

fn install(cluster: &Cluster, person: &Person) {
    let definitions = person.run(&["operator", "crds", "--without-rules"]).ok().stdout;
    person.file("definitions.yaml", &definitions);
    cluster.kubectl(&["apply", "-f", &path(person, "definitions.yaml")]);
    let definitions = path(person, "definitions.yaml");
    cluster.kubectl(&["wait", "--for=condition=Established", "--timeout=60s", "-f", &definitions]);
    let folder = root().join("deploy/kubernetes");
    // Its pods and budgets are newer than this API server; its rights are what counts here.
    let text = std::fs::read_to_string(folder.join("operator.yaml")).unwrap();
    let rights: Vec<&str> =
        text.split("\n---\n").filter(|one| one.contains("rbac.authorization.k8s.io/v1\nkind:")).collect();
    person.file("rights.yaml", &rights.join("\n---\n"));
    cluster.kubectl(&["create", "namespace", "meshagent"]);
    cluster.kubectl(&["create", "namespace", "shop"]);
    cluster.kubectl(&["apply", "-f", &path(person, "rights.yaml")]);
}

#[test]
fn a_cluster_is_kept_on_the_server() {
    let Some(programs) = programs() else { return };
    let mut cluster = Cluster::start(programs);
    let mut server = Server::start(&["--fake-runtime"]);
    let person = Person::of(&server);
    install(&cluster, &person);
    let mut operator = Operator::start(&cluster, &server, "first");

    every_document_becomes_ready(&cluster, &person);
    edits_and_drift(&cluster, &person);
    mistakes_and_conflicts(&cluster, &person);
    deletions(&cluster, &person, &mut server);

    cluster.restart();
    put(&cluster, &person, &DESK.replace("{}", "{enabled: false}"));
    until("the edit after a restart", || cluster.reason("maroom/lab").as_deref() == Some("Disabled"));

    let next = Operator::start(&cluster, &server, "second");
    operator.kill();
    until("the next operator", || next.said().contains("this operator does the work"));
    put(&cluster, &person, DESK);
    until("its work", || cluster.reason("maroom/lab").is_some_and(|reason| reason != "Disabled"));

    rights_are_those_that_are_used(&cluster);
}

fn every_document_becomes_ready(cluster: &Cluster, person: &Person) {
    let mut arguments = vec!["export", "objects", "--as", "kubernetes", "--namespace", "shop"];
    let folders: Vec<String> = std::fs::read_dir(root().join("specs"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir() && !path.ends_with("invalid") && !path.ends_with("service-template"))
        .map(|path| path.display().to_string())
        .collect();
    for folder in &folders {
        arguments.extend(["-f", folder]);
    }
    person.run(&arguments).ok();
    let objects = path(person, "objects");
    cluster.kubectl(&["apply", "-R", "-f", &objects]);
    for line in cluster.kubectl(&["get", "-R", "-f", &objects, "-o", "name"]).lines() {
        until(&format!("{line} being applied"), || {
            let status = cluster.object(line).map(|object| object["status"].to_string()).unwrap_or_default();
            status.contains(r#""id":"#)
        });
        // Repositories that are not there are told as the server tells them.
        if line.starts_with("gitsource.") {
            until("the source being told", || cluster.reason(line).is_some_and(|reason| !reason.is_empty()));
        // It is paused, and never ran.
        } else if line == "service.meshagent.dev/help-desk.indexer" {
            until("the pause being told", || {
                cluster
                    .object(line)
                    .is_some_and(|object| object["status"].to_string().contains(r#""Paused""#))
            });
        // Its secret is one of an account that is not here.
        } else if line == "service.meshagent.dev/shop" {
            until("the missing secret being told", || {
                cluster
                    .object(line)
                    .is_some_and(|object| object["status"].to_string().contains("SecretNotReadable"))
            });
        } else {
            cluster.kubectl(&["wait", "--for=condition=Ready", "--timeout=120s", "-n", "shop", line]);
        }
    }
    let table = cluster.kubectl(&["get", "maroom", "-n", "shop"]);
    assert!(table.contains("READY") && table.contains("REASON") && table.contains("help-desk"), "{table}");
    let all = cluster.kubectl(&["get", "meshagent", "-n", "shop", "-o", "name"]);
    assert!(all.lines().count() >= 12, "{all}");
    let why = person.run(&["get", "room/help-desk", "-o", "json"]).ok().stdout;
    assert!(why.contains("help-desk"), "{why}");
}

fn edits_and_drift(cluster: &Cluster, person: &Person) {
    put(cluster, person, DESK);
    cluster.kubectl(&["wait", "--for=condition=Ready", "--timeout=60s", "-n", "shop", "maroom/lab"]);
    put(cluster, person, &DESK.replace("{}", "{metadata: {annotations: {team: red}}}"));
    until("the edit", || person.run(&["get", "room/lab", "-o", "json"]).stdout.contains("red"));
    person.run(&["delete", "room/lab"]).ok();
    until("the room being there again", || person.run(&["get", "room/lab"]).code == 0);
    until("an event of it", || cluster.kubectl(&["get", "events", "-n", "shop"]).contains("DriftCorrected"));
    put(cluster, person, DESK);
}

fn mistakes_and_conflicts(cluster: &Cluster, person: &Person) {
    put(
        cluster,
        person,
        "apiVersion: meshagent.dev/v1\nkind: ScheduledTask\nmetadata: {name: wrong, namespace: shop}\n\
         spec: {room: lab, schedule: often, queue: {name: q}}\n",
    );
    until("the mistake being told", || cluster.reason("matask/wrong").as_deref() == Some("Refused"));
    let message = cluster.object("matask/wrong").unwrap()["status"]["conditions"].to_string();
    assert!(message.contains("schedule"), "{message}");
    cluster.kubectl(&["delete", "matask/wrong", "-n", "shop", "--timeout=60s"]);

    person.file("held.yaml", "version: v1\nkind: Room\nmetadata: {name: held}\nenabled: false\n");
    person.run(&["apply", "-f", "held.yaml"]).ok();
    let held = DESK.replace("lab", "held").replace("{}", "{enabled: true}");
    put(cluster, person, &held);
    until("the conflict being told", || cluster.reason("maroom/held").as_deref() == Some("Refused"));
    let message = cluster.object("maroom/held").unwrap()["status"]["conditions"].to_string();
    assert!(message.contains("cli"), "{message}");
    cluster.kubectl(&["annotate", "maroom/held", "-n", "shop", "meshagent.dev/force-conflicts=true"]);
    cluster.kubectl(&["wait", "--for=condition=Ready", "--timeout=60s", "-n", "shop", "maroom/held"]);

    put(
        cluster,
        person,
        "apiVersion: meshagent.dev/v1\nkind: Service\nmetadata: {name: early, namespace: shop}\n\
        spec: {room: later, external: {}}\n",
    );
    until("the wait being told", || cluster.reason("masvc/early").as_deref() == Some("DependencyMissing"));
    put(cluster, person, &DESK.replace("lab", "later"));
    cluster.kubectl(&["wait", "--for=condition=Ready", "--timeout=60s", "-n", "shop", "masvc/early"]);
}

fn deletions(cluster: &Cluster, person: &Person, server: &mut Server) {
    cluster.kubectl(&["delete", "masvc/early", "maroom/later", "-n", "shop", "--timeout=60s"]);
    person.run(&["get", "room/later"]).fails(1, &["no room `later`"]);
    for name in ["waits", "left"] {
        put(cluster, person, &DESK.replace("lab", name));
        let object = format!("maroom/{name}");
        cluster.kubectl(&["wait", "--for=condition=Ready", "--timeout=60s", "-n", "shop", &object]);
    }
    server.kill_9();
    cluster.kubectl(&["delete", "maroom/waits", "maroom/left", "-n", "shop", "--wait=false"]);
    until("the wait for the server being told", || {
        cluster.object("maroom/waits").is_some_and(|object| {
            object["status"]["conditions"].to_string().contains("meshagent.dev/on-delete=orphan")
        })
    });
    cluster.kubectl(&["annotate", "maroom/left", "-n", "shop", "meshagent.dev/on-delete=orphan"]);
    until("the orphan going", || cluster.object("maroom/left").is_none());
    assert!(cluster.object("maroom/waits").is_some());
    server.restart();
    until("the deletion", || cluster.object("maroom/waits").is_none());
    person.run(&["get", "room/waits"]).fails(1, &["no room `waits`"]);
    person.run(&["get", "room/left"]).ok();
}

/// Every right is used, and none is missing. An API server that just started refuses what it will allow, so that one answer
/// of a sort counts.
fn rights_are_those_that_are_used(cluster: &Cluster) {
    let asked = cluster.asked_by_the_operator();
    let of = |answered: fn(u64) -> bool| -> BTreeSet<(String, String)> {
        let these = asked.iter().filter(|one| answered(one.3));
        these.map(|(verb, group, ..)| (group.clone(), verb.clone())).collect()
    };
    let (used, refused) = (of(|code| code < 400), of(|code| code == 403));
    assert!(refused.is_subset(&used), "refused {refused:?}, used {used:?}");
    let mut granted = super::deploy::rights();
    assert!(used.is_subset(&granted), "used {used:?}, granted {granted:?}");
    // Events of one sort are counted up only where they come in a row.
    granted.remove(&("events.k8s.io".to_owned(), "patch".to_owned()));
    assert!(granted.is_subset(&used), "granted {granted:?}, used {used:?}");
}
