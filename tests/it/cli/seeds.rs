//! Every command that the documents print, word for word.

mod whole;

use super::Person;
use crate::support::server::Server;

const CREATE_ROOM: &str = "meshagent rooms create --name myroom --if-not-exists";

const SEND: &str = r#"meshagent room queue send \
  --room myroom \
  --queue support-jobs \
  --json '{"prompt":"Summarize the latest support backlog and save a report."}'"#;

const ADD_TASK: &str = r#"meshagent scheduled-task add \
  --room myroom \
  --queue support-jobs \
  --schedule "30 17 * * *" \
  --payload '{"prompt":"Generate the daily support summary and save it to storage."}'"#;

const LIST_TASKS: &str = "meshagent scheduled-task list --room myroom";

const UPDATE_TASK: &str = r#"meshagent scheduled-task update TASK_ID \
  --schedule "0 18 * * *" \
  --active"#;

const DELETE_TASK: &str = "meshagent scheduled-task delete TASK_ID";

const CREATE_MAILBOX: &str = r"meshagent mailbox create \
  --address support-agent@mail.meshagent.com \
  --room quickstart \
  --queue support-agent@mail.meshagent.com";

const LIST_TOOLKITS: &str = r"meshagent room agent list-toolkits \
  --room quickstart";

const JOIN: &str = r#"meshagent process join \
  --room quickstart \
  --agent-name support-agent \
  --channel chat \
  --channel mail:support-agent@mail.meshagent.com \
  --channel queue:support-jobs \
  --channel toolkit:support-agent \
  --threading-mode default-new \
  --thread-dir ".threads/support-agent" \
  --web-search \
  --require-storage \
  --rule "You are a helpful support agent. Answer clearly, use web search when needed, and save important artifacts to storage.""#;

const JOIN_QUEUE_AGENT: &str = r#"meshagent process join \
  --room myroom \
  --agent-name queue-agent \
  --channel queue:support-jobs \
  --require-storage \
  --require-web-search \
  --rule "You are a queue-based support operations agent. Process queued jobs without asking follow-up questions unless the job explicitly asks for interactive behavior.""#;

const DEPLOY: &str = r#"meshagent process deploy \
  --service-name support-agent \
  --room quickstart \
  --agent-name support-agent \
  --channel chat \
  --channel mail:support-agent@mail.meshagent.com \
  --channel queue:support-jobs \
  --channel toolkit:support-agent \
  --threading-mode default-new \
  --web-search \
  --require-storage \
  --rule "You are a helpful support agent. Answer clearly, use web search when needed, and save important artifacts to storage.""#;

const INVOKE: &str = r#"meshagent room agent invoke-tool \
  --room quickstart \
  --toolkit support-agent \
  --tool run_support_agent_task \
  --arguments '{"prompt":"Draft a short reply explaining the refund policy."}'"#;

#[test]
fn every_printed_command_is_understood() {
    let printed = [
        "meshagent setup",
        CREATE_ROOM,
        SEND,
        ADD_TASK,
        LIST_TASKS,
        UPDATE_TASK,
        DELETE_TASK,
        CREATE_MAILBOX,
        LIST_TOOLKITS,
        JOIN,
        JOIN_QUEUE_AGENT,
        DEPLOY,
        INVOKE,
    ];
    for line in printed {
        let words = shlex::split(&line.replace("\\\n", " ")).unwrap();
        let words = meshagent::cli::commands::process::rewrite(words.into_iter().map(Into::into));
        if let Err(error) = meshagent::cli::parse(words) {
            panic!("{line}\n{error}");
        }
    }
}

#[test]
fn a_deployed_agent_is_a_service_and_answers_as_a_tool() {
    let server = Server::start(&[]);
    let person = Person::of(&server);
    person.shell("meshagent rooms create quickstart").ok();
    let offline = DEPLOY.replace("process deploy", "process deploy --model builtin/echo");
    let id = person.shell(&offline).ok().stdout;
    assert_eq!(person.shell(&offline).ok().stdout, id, "deployed again, it is replaced");
    let service = person.run(&["service", "get", "support-agent", "--room", "quickstart"]).json();
    let command = service["container"]["command"].as_str().unwrap();
    assert!(command.starts_with("meshagent process join --model builtin/echo --agent-name"), "{command}");
    assert!(!command.contains("quickstart") && !command.contains("--service-name"), "{command}");
    let ready = ["wait", "service/support-agent", "--room", "quickstart", "--timeout", "60s"];
    person.run(&ready).ok();
    let answer = person.shell(INVOKE).ok().stdout;
    assert!(answer.contains("refund policy"), "{answer}");
}

#[test]
fn queues_and_scheduled_tasks_as_printed() {
    let server = Server::start(&[]);
    // As on the server's own machine: no environment, only the connection file.
    let person = Person::new().with("MESHAGENT_DATA_DIR", &server.data_dir().display().to_string());
    person.shell("meshagent setup").ok();
    person.shell(CREATE_ROOM).ok();
    assert_eq!(person.shell(CREATE_ROOM).json()["name"], "myroom");
    person.shell(SEND).ok();
    assert_eq!(person.shell("meshagent room queue size --room myroom --queue support-jobs").stdout, "1\n");

    let id = person.shell(ADD_TASK).ok().stdout.trim().to_owned();
    let listed = person.shell(LIST_TASKS).ok().stdout;
    assert!(listed.contains(&id) && listed.contains("30 17 * * *"), "{listed}");
    person.shell("meshagent scheduled-task update TASK_ID --inactive".replace("TASK_ID", &id).as_str()).ok();
    person.shell(&UPDATE_TASK.replace("TASK_ID", &id)).ok();
    let task = &person.shell(&format!("{LIST_TASKS} -o json")).json()["scheduled_tasks"][0];
    assert_eq!(task["spec"]["schedule"], "0 18 * * *");
    assert_eq!(task["spec"]["active"], true);
    assert_eq!(
        task["spec"]["queue"]["payload"]["prompt"],
        "Generate the daily support summary and save it to storage."
    );
    person.shell(&DELETE_TASK.replace("TASK_ID", &id)).ok();
    let none = person.shell(LIST_TASKS).ok();
    assert_eq!((none.stdout.as_str(), none.stderr.as_str()), ("", "No scheduled tasks found.\n"));
    person.shell(&DELETE_TASK.replace("TASK_ID", &id)).fails(1, &["there is no scheduled task"]);
}

#[test]
fn mailbox_and_toolkits_as_printed() {
    let server = Server::start(&[]);
    let person = Person::of(&server);
    person.shell("meshagent rooms create quickstart").ok();
    person.shell(CREATE_MAILBOX).ok();
    person
        .shell(CREATE_MAILBOX)
        .fails(1, &["Mailbox address already in use: support-agent@mail.meshagent.com"]);
    let toolkits = person.shell(LIST_TOOLKITS).json();
    let queues = toolkits.as_array().unwrap().iter().find(|toolkit| toolkit["name"] == "queues").unwrap();
    let send = queues["tools"].as_array().unwrap().iter().find(|tool| tool["name"] == "send").unwrap();
    assert!(send["input_schema"].is_object(), "{send}");
}
