use super::super::mounts;
use super::*;
use crate::containers::Limits;
use crate::id::{ProjectId, RoomId, ServiceId};
use crate::runtime::kubernetes::Claim;
use crate::runtime::{ContainerExtras, InstanceKey};
use crate::vault::Secret as Hidden;
use serde_json::Value;
use std::sync::Arc;
use uuid::Uuid;

pub(in crate::runtime::kubernetes) fn request(image: &str, command: &str) -> StartRequest {
    let project = ProjectId::new(Uuid::from_u128(1));
    let (room, service) =
        (RoomId::new(project, Uuid::from_u128(2)), ServiceId::new(project, Uuid::from_u128(3)));
    StartRequest {
        key: InstanceKey { room, service, container: 0 },
        image: image.to_owned(),
        command: command.to_owned(),
        env: Vec::new(),
        working_dir: None,
        log_sink: Arc::new(|_| ()),
        container: ContainerExtras::default(),
    }
}

pub(in crate::runtime::kubernetes) fn settings() -> PodSettings {
    let mut settings = PodSettings {
        namespace: "n".into(),
        image: "registry.example/meshagent:1".into(),
        claim: Some(Claim { name: "shared".into(), root: "/shared".into() }),
        template: PodTemplate::default(),
        limits: Limits::default(),
        installation: String::new(),
        server: String::new(),
        server_name: String::new(),
    };
    settings.mark(b"secret", "server");
    settings
}

fn made(request: &StartRequest, settings: &PodSettings) -> (Value, Vec<Value>) {
    let mounted = mounts::prepare(request, settings, "ma-x-1", false).unwrap();
    let made = make(request, mounted, settings, "1").unwrap();
    (json!(made.pod), made.secrets.iter().map(|one| json!(one)).collect())
}

/// What the Pod Security Standard `restricted` asks for, in its own words.
fn is_restricted(pod: &Value) -> Result<(), String> {
    let spec = &pod["spec"];
    let want = |holds: bool, what: &str| if holds { Ok(()) } else { Err(what.to_owned()) };
    for name in ["hostNetwork", "hostPID", "hostIPC"] {
        want(spec[name] != true, name)?;
    }
    want(spec["securityContext"]["runAsNonRoot"] == true, "runAsNonRoot")?;
    want(spec["securityContext"]["runAsUser"] != 0, "runAsUser")?;
    want(spec["securityContext"]["seccompProfile"]["type"] == "RuntimeDefault", "seccompProfile")?;
    let allowed = [
        "configMap",
        "csi",
        "downwardAPI",
        "emptyDir",
        "ephemeral",
        "persistentVolumeClaim",
        "projected",
        "secret",
        "image",
    ];
    for volume in spec["volumes"].as_array().into_iter().flatten() {
        let sources = volume.as_object().unwrap().keys().filter(|key| *key != "name");
        want(sources.into_iter().all(|source| allowed.contains(&source.as_str())), "volumes")?;
    }
    for container in spec["containers"].as_array().unwrap() {
        let own = &container["securityContext"];
        want(own["allowPrivilegeEscalation"] == false, "allowPrivilegeEscalation")?;
        want(own["privileged"] != true, "privileged")?;
        want(
            own["capabilities"]["drop"] == json!(["ALL"]) && own["capabilities"]["add"].is_null(),
            "capabilities",
        )?;
        want(container["ports"].is_null(), "host ports")?;
    }
    Ok(())
}

#[test]
fn a_pod_is_restricted_whatever_it_asks_for() {
    let mut request = request("python:3.13", "python -m http.server");
    request.container.writable_root = true;
    request.container.ports = vec![(80, 80)];
    request.container.mounts = serde_json::from_value(json!({
        "room": [{"path": "/data"}], "empty_dirs": [{"path": "/tmp"}], "files": [{"path": "/etc/x", "text": "y"}],
    }))
    .unwrap();
    let mut settings = settings();
    settings.template = PodTemplate::parse(
        "nodeSelector: {pool: a}\nsecurityContext: {runAsUser: 1000}\nlabels: {team: red}",
    )
    .unwrap();
    let (pod, _) = made(&request, &settings);
    is_restricted(&pod).unwrap();
    let spec = &pod["spec"];
    assert_eq!(spec["containers"][0]["securityContext"]["readOnlyRootFilesystem"], false);
    assert_eq!(spec["securityContext"]["runAsUser"], 1000);
    assert_eq!(spec["nodeSelector"]["pool"], "a");
    assert_eq!(pod["metadata"]["labels"]["team"], "red");
    for (name, value) in [
        ("restartPolicy", json!("Never")),
        ("automountServiceAccountToken", json!(false)),
        ("enableServiceLinks", json!(false)),
    ] {
        assert_eq!(spec[name], value, "{name}");
    }
    let limits = &spec["containers"][0]["resources"]["limits"];
    assert_eq!((&limits["cpu"], &limits["memory"]), (&json!("2000m"), &json!("2147483648")));

    request.container.writable_root = false;
    let (pod, _) = made(&request, &settings);
    is_restricted(&pod).unwrap();
    assert_eq!(pod["spec"]["containers"][0]["securityContext"]["readOnlyRootFilesystem"], true);
}

#[test]
fn secrets_stand_in_secrets_alone() {
    let mut request = request("registry.example:5000/x/y", "");
    let hidden = |text: &str| Hidden::from(text.to_owned());
    request.env = vec![
        ("PLAIN".into(), EnvValue::Plain("costs $(PRICE) $5".into())),
        ("TOKEN".into(), EnvValue::Secret(hidden("s3cr3t"))),
    ];
    request.container.credentials = vec![
        Credential { registry: None, username: "u".into(), password: hidden("p4ss") },
        Credential { registry: Some("docker.io".into()), username: "v".into(), password: hidden("w0rd") },
    ];
    let (pod, secrets) = made(&request, &settings());
    let text = pod.to_string();
    let base64 = STANDARD.encode("s3cr3t");
    assert!(!text.contains("s3cr3t") && !text.contains(&base64) && !text.contains("p4ss"), "{text}");
    let env = pod["spec"]["containers"][0]["env"].as_array().unwrap();
    let of = |name: &str| env.iter().find(|one| one["name"] == name).unwrap();
    assert!(of("PLAIN")["value"].is_null(), "Kubernetes would replace `$(PRICE)` in it, and show it");
    let key = of("PLAIN")["valueFrom"]["secretKeyRef"]["key"].as_str().unwrap();
    assert_eq!(secrets[0]["data"][key], STANDARD.encode("costs $(PRICE) $5"));
    assert_eq!(of("HOME")["value"], "/tmp");
    let from = &of("TOKEN")["valueFrom"]["secretKeyRef"];
    assert_eq!(secrets[0]["metadata"]["name"], from["name"]);
    assert_eq!(secrets[0]["data"][from["key"].as_str().unwrap()], base64);
    assert!(secrets.iter().all(|secret| secret["immutable"] == true));

    let pulls: Vec<&Value> =
        pod["spec"]["imagePullSecrets"].as_array().unwrap().iter().map(|one| &one["name"]).collect();
    assert_eq!(pulls, [&secrets[1]["metadata"]["name"], &secrets[2]["metadata"]["name"]]);
    let config = |secret: &Value| -> Value {
        let bytes = STANDARD.decode(secret["data"][".dockerconfigjson"].as_str().unwrap()).unwrap();
        serde_json::from_slice(&bytes).unwrap()
    };
    assert_eq!(config(&secrets[1])["auths"]["registry.example:5000"]["username"], "u");
    assert_eq!(config(&secrets[2])["auths"][DOCKER_HUB]["auth"], STANDARD.encode("v:w0rd"));
    let listed = pod["metadata"]["annotations"][names::SECRETS].as_str().unwrap();
    assert_eq!(listed.split(',').count(), 3);
}

#[test]
fn our_own_image_is_this_program_and_others_keep_their_entry_point() {
    let of = |image: &str, command: &str| {
        let (pod, _) = made(&request(image, command), &settings());
        pod["spec"]["containers"][0].clone()
    };
    let own = of("meshagent/cli:default", "meshagent process join --room 'a b'");
    assert_eq!(own["image"], "registry.example/meshagent:1");
    assert_eq!((&own["command"], &own["args"]), (&Value::Null, &json!(["process", "join", "--room", "a b"])));
    assert_eq!(own["workingDir"], "/tmp");
    let other = of("meshagent/cli:default", "sh -c 'echo $HOME'");
    assert_eq!((&other["command"], &other["args"]), (&json!(["sh", "-c", "echo $$HOME"]), &Value::Null));
    let foreign = of("redis:8", "--port 1");
    assert_eq!((&foreign["image"], &foreign["args"]), (&json!("redis:8"), &json!(["--port", "1"])));
    assert!(foreign["command"].is_null() && of("redis:8", "")["args"].is_null());
    let empty = request("meshagent/cli:default", " ");
    let mounted = mounts::prepare(&empty, &settings(), "s", false).unwrap();
    assert!(matches!(make(&empty, mounted, &settings(), "1"), Err(RuntimeError::CommandEmpty { .. })));
}

#[test]
fn what_is_too_large_for_a_secret_is_refused() {
    let mut request = request("x", "");
    request.env = vec![("A".into(), EnvValue::Secret(Hidden::new(vec![b'x'; SECRET_BYTES_MAX])))];
    let mounted = mounts::prepare(&request, &settings(), "s", false).unwrap();
    let error = make(&request, mounted, &settings(), "1").err().unwrap().to_string();
    assert!(error.contains("room storage"), "{error}");
}

#[test]
fn registries_are_told_from_paths() {
    for (image, registry) in [
        ("redis", DOCKER_HUB),
        ("library/redis", DOCKER_HUB),
        ("localhost/x", "localhost"),
        ("localhost:5000/x", "localhost:5000"),
        ("ghcr.io/a/b:1", "ghcr.io"),
    ] {
        assert_eq!(registry_of(image), registry, "{image}");
    }
}
