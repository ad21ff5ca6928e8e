//! `deploy/`: what is there can be read, and what the manifests and the chart grant the operator is the same.

use super::documents::root;
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

fn yaml(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_yaml::Deserializer::from_str(&text)
        .map(|one| {
            serde::Deserialize::deserialize(one).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
        })
        .collect()
}

fn manifests(name: &str) -> Vec<Value> {
    yaml(&root().join("deploy/kubernetes").join(name))
}

fn of_kind<'a>(all: &'a [Value], kind: &str) -> Vec<&'a Value> {
    all.iter().filter(|one| one["kind"] == kind).collect()
}

/// What the operator may: group and verb.
pub fn rights() -> BTreeSet<(String, String)> {
    let all = manifests("operator.yaml");
    let roles = of_kind(&all, "ClusterRole").into_iter().chain(of_kind(&all, "Role"));
    let own = roles.filter(|role| role["metadata"]["name"] == "meshagent-operator");
    let mut rights = BTreeSet::new();
    for rule in own.flat_map(|role| role["rules"].as_array().unwrap()) {
        for verb in rule["verbs"].as_array().unwrap() {
            let group = rule["apiGroups"][0].as_str().unwrap();
            rights.insert((group.to_owned(), verb.as_str().unwrap().to_owned()));
        }
    }
    rights
}

#[test]
fn the_operator_may_what_it_needs_and_nothing_else() {
    let right = |group: &str, verb: &str| (group.to_owned(), verb.to_owned());
    let wanted = BTreeSet::from([
        right("meshagent.dev", "list"),
        right("meshagent.dev", "patch"),
        right("meshagent.dev", "watch"),
        right("events.k8s.io", "create"),
        right("events.k8s.io", "patch"),
        right("coordination.k8s.io", "create"),
        right("coordination.k8s.io", "get"),
        right("coordination.k8s.io", "update"),
    ]);
    assert_eq!(rights(), wanted);
    let chart =
        std::fs::read_to_string(root().join("deploy/helm/meshagent/templates/operator.yaml")).unwrap();
    let rules = |text: &str| -> BTreeSet<String> {
        text.lines().map(str::trim).filter(|line| line.starts_with("verbs:")).map(str::to_owned).collect()
    };
    let plain = std::fs::read_to_string(root().join("deploy/kubernetes/operator.yaml")).unwrap();
    assert_eq!(rules(&chart), rules(&plain));
}

/// The role by which the server runs services as pods: resource and verb.
#[test]
fn the_server_may_run_pods_and_read_no_secret() {
    let all = manifests("pods/rights.yaml");
    let roles = of_kind(&all, "Role");
    assert_eq!(roles.len(), 1);
    assert!(
        of_kind(&manifests("server.yaml"), "Role").is_empty(),
        "a server that runs no pods has no rights"
    );
    let mut rights = BTreeSet::new();
    for rule in roles[0]["rules"].as_array().unwrap() {
        for verb in rule["verbs"].as_array().unwrap() {
            rights.insert(format!("{} {}", verb.as_str().unwrap(), rule["resources"][0].as_str().unwrap()));
        }
    }
    let wanted = [
        "create pods",
        "create secrets",
        "delete pods",
        "delete secrets",
        "get pods",
        "get pods/log",
        "list pods",
        "watch pods",
    ];
    assert_eq!(rights.iter().map(String::as_str).collect::<Vec<_>>(), wanted);
    let of_pods =
        |kind: &str| of_kind(&all, kind).iter().any(|one| one["metadata"]["name"] == "meshagent-pods");
    assert!(of_pods("RoleBinding") && of_pods("NetworkPolicy"));
    let lines = |path: &str| -> BTreeSet<String> {
        let text = std::fs::read_to_string(root().join(path)).unwrap();
        let counts = |line: &&str| {
            ["verbs:", "resources: [", "cidr:", "except:"].iter().any(|word| line.starts_with(word))
        };
        text.lines().map(str::trim).filter(counts).map(str::to_owned).collect()
    };
    let mut plain = lines("deploy/kubernetes/server.yaml");
    plain.extend(lines("deploy/kubernetes/pods/rights.yaml"));
    assert_eq!(lines("deploy/helm/meshagent/templates/server.yaml"), plain);
}

#[test]
fn pods_run_without_rights_and_are_probed() {
    let all = [manifests("server.yaml"), manifests("operator.yaml")].concat();
    let pods = [of_kind(&all, "StatefulSet"), of_kind(&all, "Deployment")].concat();
    assert_eq!(pods.len(), 2);
    for owner in pods {
        let pod = &owner["spec"]["template"];
        let labels = &pod["metadata"]["labels"];
        assert_eq!(owner["spec"]["selector"]["matchLabels"], *labels);
        assert_eq!(pod["spec"]["securityContext"]["runAsNonRoot"], true);
        let container = &pod["spec"]["containers"][0];
        let own = &container["securityContext"];
        assert_eq!(own["readOnlyRootFilesystem"], true);
        assert_eq!(own["allowPrivilegeEscalation"], false);
        assert_eq!(own["capabilities"]["drop"][0], "ALL");
        for probe in ["readinessProbe", "livenessProbe"] {
            assert!(container[probe].is_object(), "{probe}");
        }
        let guarded = |kind: &str, pointer: &str| {
            of_kind(&all, kind).iter().any(|one| one.pointer(pointer) == Some(labels))
        };
        assert!(guarded("PodDisruptionBudget", "/spec/selector/matchLabels"), "{labels}");
        assert!(guarded("NetworkPolicy", "/spec/podSelector/matchLabels"), "{labels}");
        // What it is started with is what the program takes.
        let arguments = container["args"].as_array().unwrap().iter().filter_map(Value::as_str);
        let told = |one: &str| one.replace("$(POD_NAME)", "x").replace("$(POD_IP)", "10.0.0.1");
        let given: Vec<String> = arguments.map(told).collect();
        assert!(given.iter().all(|one| !one.contains("$(")), "{given:?}");
        meshagent::cli::parse(std::iter::once("meshagent".to_owned()).chain(given)).unwrap();
    }
}

#[test]
fn everything_in_deploy_can_be_read() {
    assert!(!yaml(&root().join("deploy/flux/example.yaml")).is_empty());
    let argo = &yaml(&root().join("deploy/argocd/health.yaml"))[0];
    let custom: Value =
        serde_yaml::from_str(argo["data"]["resource.customizations"].as_str().unwrap()).unwrap();
    let script = custom["meshagent.dev/*"]["health.lua"].as_str().unwrap();
    for word in ["Progressing", "Degraded", "Healthy", "observedGeneration", "return hs"] {
        assert!(script.contains(word), "{word}");
    }
    assert!(!yaml(&root().join("deploy/helm/meshagent/Chart.yaml")).is_empty());
    assert!(root().join("deploy/helm/meshagent/crds/meshagent.dev_rooms.yaml").is_file());
    let image = std::fs::read_to_string(root().join("deploy/Dockerfile")).unwrap();
    assert!(image.contains("\nFROM scratch\n") && image.contains("\nUSER 65532:65532\n"));
}

/// Every value that the templates name is in `values.yaml`, and each block that begins ends.
#[test]
fn the_chart_names_what_is_there() {
    let chart = root().join("deploy/helm/meshagent");
    let values = &yaml(&chart.join("values.yaml"))[0];
    let files: Vec<PathBuf> =
        std::fs::read_dir(chart.join("templates")).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(files.len(), 2);
    let (mut named, mut blocks) = (0, 0);
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(text.split("{{").skip(1).all(|rest| rest.contains("}}")), "{}", file.display());
        for action in text.split("{{").skip(1).map(|rest| rest.split("}}").next().unwrap()) {
            let word = action.trim_start_matches('-').split_whitespace().next().unwrap_or_default();
            blocks += match word {
                "if" | "range" => 1,
                "end" => -1,
                _ => 0,
            };
            for path in action.split(".Values.").skip(1) {
                let end = path.find(|c: char| !c.is_ascii_alphanumeric() && c != '.').unwrap_or(path.len());
                let pointer = format!("/{}", path[..end].replace('.', "/"));
                assert!(values.pointer(&pointer).is_some(), "{}: {pointer}", file.display());
                named += 1;
            }
        }
        assert_eq!(blocks, 0, "{}", file.display());
    }
    assert!(named > 10);
}
