//! The runtime conformance suite on pods, and what pods promise beyond it.

use super::Rig;
use crate::runtime::{ended, exited, key, logged, one_instance_at_a_time, request, texts};
use meshagent::runtime::{EnvValue, InstanceKey, Observed, RunState, Runtime, RuntimeError, StartRequest};
use meshagent::vault::Secret;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_mins(1);
const LOOK_EVERY: Duration = Duration::from_millis(50);
const GRACE: Duration = Duration::from_secs(10);

/// Waits until something holds.
async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    let mut look = tokio::time::interval(LOOK_EVERY);
    while !holds().await {
        assert!(Instant::now() < deadline, "{what} did not come to be");
        look.tick().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_run_one_instance_at_a_time() {
    let Some(rig) = tokio::task::spawn_blocking(Rig::start).await.unwrap() else { return };
    let runtime = rig.runtime("one", "").await;
    until("the first list", async || runtime.observe_one(&key(1)).await.unwrap() == Observed::Absent).await;
    let end = async |key: &InstanceKey| {
        let Observed::Present { handle: Some(pod), .. } = runtime.observe_one(key).await.unwrap() else {
            panic!("it is gone")
        };
        std::fs::write(rig.node.directory(&pod).join("end"), "").unwrap();
    };
    one_instance_at_a_time(&runtime, request, end).await;
    assert_eq!((rig.names("pods"), rig.names("secrets")), (vec![], vec![]));

    secrets_output_and_an_exit_code(&rig, &runtime).await;
    a_stream_that_is_cut_goes_on(&rig, &runtime).await;
    what_cannot_run_says_why(&rig, &runtime).await;
    servers_do_not_touch_each_other(&rig, &runtime).await;
    assert_eq!((rig.names("pods"), rig.names("secrets")), (vec![], vec![]));
    everything_is_unknown_while_the_cluster_is_away(rig, runtime).await;
}

async fn secrets_output_and_an_exit_code(rig: &Rig, runtime: &dyn Runtime) {
    let (logged, lines) = logged(1, "sh -c 'echo \"$SECRET $0 $PLAIN\"; exit 5' '$(SECRET)'");
    let env = vec![
        ("SECRET".to_owned(), EnvValue::Secret(Secret::from("s3cr3t".to_owned()))),
        ("PLAIN".to_owned(), EnvValue::Plain("$(SECRET) $$".to_owned())),
    ];
    runtime.start(StartRequest { env, ..logged }).await.unwrap();
    assert_eq!(ended(runtime, &key(1)).await, exited(5));
    until("its line", async || !texts(&lines).is_empty()).await;
    assert_eq!(texts(&lines), ["s3cr3t $(SECRET) $(SECRET) $$"], "nothing is replaced in words and values");
    let pods = rig.cluster.kubectl(&["get", "pods", "-n", "meshagent", "-o", "yaml"]);
    assert!(!pods.contains("s3cr3t") && pods.contains("secretKeyRef"), "{pods}");
    assert_eq!(rig.names("secrets").len(), 1);
    let owner = rig.cluster.kubectl(&[
        "get",
        "secrets",
        "-n",
        "meshagent",
        "-o",
        "jsonpath={.items[0].metadata.ownerReferences[0].kind}",
    ]);
    assert_eq!(owner, "Pod");
    let over = runtime.stop(&key(1), GRACE).await.unwrap();
    assert!(matches!(over, Observed::Present { state, .. } if state == exited(5)), "{over:?}");
    assert_eq!(rig.names("secrets"), Vec::<String>::new());
}

async fn a_stream_that_is_cut_goes_on(rig: &Rig, runtime: &dyn Runtime) {
    let command = "sh -c 'for n in 1 2 3; do echo $n; done; while [ ! -e more ]; do sleep 0.02; done; echo 4; \
                   while [ ! -e end ]; do sleep 0.02; done; echo 5'";
    let (request, lines) = logged(1, command);
    let seen = runtime.start(request).await.unwrap();
    let Observed::Present { handle: Some(pod), .. } = seen else { panic!("{seen:?}") };
    until("three lines", async || texts(&lines).len() == 3).await;
    rig.node.cut_output();
    std::fs::write(rig.node.directory(&pod).join("more"), "").unwrap();
    until("the fourth line", async || texts(&lines).len() >= 4).await;
    rig.node.cut_output();
    std::fs::write(rig.node.directory(&pod).join("end"), "").unwrap();
    assert_eq!(ended(runtime, &key(1)).await, exited(0));
    until("the last line", async || texts(&lines).len() >= 5).await;
    assert_eq!(texts(&lines), ["1", "2", "3", "4", "5"]);
    runtime.stop(&key(1), GRACE).await.unwrap();
}

async fn what_cannot_run_says_why(rig: &Rig, runtime: &dyn Runtime) {
    let (image, lines) = logged(1, "run");
    let image = StartRequest { image: "example/no-such:1".to_owned(), ..image };
    let error = runtime.start(image).await.unwrap_err().to_string();
    assert!(error.contains("ImagePullBackOff") && error.contains("not found"), "{error}");
    assert!(texts(&lines)[0].contains("ImagePullBackOff"), "{:?}", texts(&lines));
    let name = "A".repeat(300) + " B";
    let env = vec![(name, EnvValue::Plain(String::new()))];
    let error = runtime.start(StartRequest { env, ..request(1, "true") }).await.unwrap_err();
    assert!(matches!(error, RuntimeError::Malformed { .. }), "{error}");
    let error = runtime.start(request(1, " ")).await.unwrap_err();
    assert!(matches!(error, RuntimeError::CommandEmpty { .. }), "{error}");
    assert_eq!(runtime.observe_one(&key(1)).await.unwrap(), Observed::Absent);
    assert_eq!(rig.names("pods"), Vec::<String>::new());

    let nowhere = rig.runtime("nowhere", "nodeSelector: {pool: none}").await;
    let (waiting, lines) = logged(3, "true");
    assert_eq!(nowhere.start(waiting).await.unwrap(), Observed::Unknown);
    assert!(texts(&lines)[0].contains("0/1 nodes"), "{:?}", texts(&lines));
    let twice = nowhere.start(request(3, "true")).await.unwrap_err();
    assert!(matches!(twice, RuntimeError::AlreadyRunning { .. }), "{twice}");
    nowhere.stop(&key(3), GRACE).await.unwrap();
}

async fn servers_do_not_touch_each_other(rig: &Rig, one: &dyn Runtime) {
    let two = rig.runtime("two", "").await;
    until("the first list", async || two.observe_one(&key(1)).await.unwrap() == Observed::Absent).await;
    one.start(request(1, "sleep 1000")).await.unwrap();
    assert_eq!(two.observe().await.unwrap(), [], "another server's");
    assert_eq!(two.stop(&key(1), GRACE).await.unwrap(), Observed::Absent);
    let before = rig.node.started().len();
    // The room is the second's now: what the first left goes before it starts.
    let seen = two.start(request(1, "sleep 1000")).await.unwrap();
    assert!(matches!(seen, Observed::Present { state: RunState::Running, .. }), "{seen:?}");
    assert_eq!((rig.names("pods").len(), rig.node.started().len()), (1, before + 1));
    until("the first's end", async || one.observe_one(&key(1)).await.unwrap() == Observed::Absent).await;
    assert_eq!(one.stop(&key(1), GRACE).await.unwrap(), Observed::Absent);
    assert_eq!(rig.names("pods").len(), 1, "the first lets the second's be");
    // The next run of the second finds it.
    drop(two);
    let again = rig.runtime("two", "").await;
    let twice = again.start(request(1, "sleep 1000")).await.unwrap_err();
    assert!(matches!(twice, RuntimeError::AlreadyRunning { .. }), "{twice}");
    again.stop(&key(1), GRACE).await.unwrap();
}

async fn everything_is_unknown_while_the_cluster_is_away(mut rig: Rig, runtime: impl Runtime) {
    runtime.start(request(1, "sleep 1000")).await.unwrap();
    let handle = tokio::runtime::Handle::current();
    let (rig, runtime) = tokio::task::spawn_blocking(move || {
        rig.cluster.while_down(|| {
            handle.block_on(async {
                until("the cut", async || runtime.observe_one(&key(1)).await.unwrap() == Observed::Unknown)
                    .await;
                assert_eq!(runtime.observe().await.unwrap(), [(key(1), Observed::Unknown)]);
                let error = runtime.start(request(2, "true")).await.unwrap_err().to_string();
                assert!(error.contains("not reached"), "{error}");
                assert!(runtime.stop(&key(1), GRACE).await.is_err(), "nobody says that it is gone");
            });
        });
        (rig, runtime)
    })
    .await
    .unwrap();
    until("the pod being seen again", async || {
        matches!(
            runtime.observe_one(&key(1)).await.unwrap(),
            Observed::Present { state: RunState::Running, .. }
        )
    })
    .await;
    runtime.stop(&key(1), GRACE).await.unwrap();
    assert_eq!(rig.names("pods"), Vec::<String>::new());
}
