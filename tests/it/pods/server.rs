//! A whole server whose services are pods.

use super::Rig;
use crate::cli::Person;
use crate::support::server::Server;
use crate::support::until;

const SERVICE: &str = "version: v1\nkind: Service\nmetadata: {name: sleeper}\ncontainer: {image: busybox, command: sleep 1000}\n";
const IMAGE: &str = "registry.example/meshagent:1";

fn arguments(rig: &Rig) -> Vec<String> {
    let mut all =
        ["up", "--runtime", "kubernetes", "--kubernetes-namespace", "meshagent"].map(str::to_owned).to_vec();
    all.extend(["--kubernetes-image", IMAGE, "--kubeconfig"].map(str::to_owned));
    all.push(rig.kubeconfig().display().to_string());
    all.remove(0);
    all
}

fn start(arguments: &[String]) -> (Server, Person) {
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let server = Server::start(&arguments);
    let person = Person::of(&server);
    (server, person)
}

fn apply(person: &Person, text: &str) {
    person.file("service.yaml", text);
    person.run(&["apply", "-f", "service.yaml", "--room", "desk"]).ok();
}

/// The API server's own identifiers of the pods.
fn uids(rig: &Rig) -> Vec<String> {
    let wanted = "jsonpath={range .items[*]}{.metadata.uid}{\"\\n\"}{end}";
    let said = rig.cluster.kubectl(&["get", "pods", "-n", "meshagent", "-o", wanted]);
    said.lines().map(str::to_owned).collect()
}

fn is_ready(person: &Person, service: &str) -> bool {
    person.run(&["wait", service, "--room", "desk", "--for=condition=Ready", "--timeout", "1s"]).code == 0
}

#[test]
fn a_service_is_a_pod_of_its_server() {
    let Some(rig) = Rig::start() else { return };
    let (mut server, person) = start(&arguments(&rig));
    apply(&person, &format!("version: v1\nkind: Room\nmetadata: {{name: desk}}\n---\n{SERVICE}"));
    until("the pod", || uids(&rig).len() == 1);
    until("the service being ready", || is_ready(&person, "service/sleeper"));
    let first = uids(&rig);

    // The next run opens the room anew: its pod takes the place of the one that was left, never beside it.
    server.kill_9();
    assert_eq!(uids(&rig), first, "the pod outlives its server");
    server.restart();
    until("the next pod", || {
        let now = uids(&rig);
        assert!(now.len() <= 1, "two at a time");
        now.len() == 1 && now != first
    });
    until("the service being ready again", || is_ready(&person, "service/sleeper"));

    for (text, part) in [
        (SERVICE.replace("busybox", "example/no-such:1"), "ImagePullBackOff"),
        (SERVICE.replace("1000}", "1000, storage: {room: [{path: /x}]}}"), "--kubernetes-claim"),
    ] {
        apply(&person, &text);
        until(part, || person.run(&["why", "service/sleeper", "--room", "desk"]).stdout.contains(part));
    }
    person.run(&["delete", "service/sleeper", "--room", "desk"]).ok();
    until("the pod going", || rig.names("pods").is_empty() && rig.names("secrets").is_empty());
}

#[test]
fn a_server_without_rights_or_cluster_says_what_is_missing() {
    let Some(rig) = Rig::start() else { return };
    rig.cluster.kubectl(&["delete", "rolebinding", "meshagent-pods", "-n", "meshagent"]);
    let (_server, person) = start(&arguments(&rig));
    apply(&person, &format!("version: v1\nkind: Room\nmetadata: {{name: desk}}\n---\n{SERVICE}"));
    let why = || person.run(&["why", "service/sleeper", "--room", "desk"]).stdout;
    until("the missing right", || why().contains("cannot list resource \"pods\""));

    let file = rig.home.path().join("nowhere.kubeconfig");
    let text = std::fs::read_to_string(rig.kubeconfig()).unwrap();
    let port = text.split("127.0.0.1:").nth(1).unwrap().split('"').next().unwrap().to_owned();
    std::fs::write(&file, text.replace(&port, "1")).unwrap();
    let mut elsewhere = arguments(&rig);
    *elsewhere.last_mut().unwrap() = file.display().to_string();
    let (_server, person) = start(&elsewhere);
    apply(&person, &format!("version: v1\nkind: Room\nmetadata: {{name: desk}}\n---\n{SERVICE}"));
    until("the cluster that is away", || {
        person.run(&["why", "service/sleeper", "--room", "desk"]).stdout.contains("not reached")
    });

    let nobody = Person::new();
    nobody.run(&["up", "--runtime", "kubernetes"]).fails(2, &["--kubernetes-image"]);
    let bad = nobody.file("template.yaml", "hostNetwork: true");
    let up =
        ["up", "--runtime", "kubernetes", "--kubernetes-image", IMAGE, "--kubernetes-pod-template", &bad];
    nobody.run(&up).fails(1, &["hostNetwork"]);
    nobody.run(&up[..5]).fails(1, &["--kubeconfig"]);
}
