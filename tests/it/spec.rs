//! The documents in `specs/` and the files in `schemas/`, against the code.
//!
//! `UPDATE_SCHEMAS=1` writes the schemas anew, `UPDATE_MESSAGES=1` the messages beside `specs/invalid/`.

use meshagent::domain::template::{self, Values};
use meshagent::spec::{self, Document, Kind, Problem, schema};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn asked(name: &str) -> bool {
    std::env::var_os(name).is_some_and(|value| value == "1")
}

fn yaml_files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|end| end == "yaml"))
        .collect();
    files.sort();
    files
}

/// Reads a file as the command line does: a template is rendered first.
fn read(name: &str, text: &str, values: &Values) -> Result<Vec<Document>, Vec<Problem>> {
    template::read_files(&[(name, text)], values)
        .map(|all| all.into_iter().map(|written| written.document).collect())
}

fn lines(problems: &[Problem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n") + "\n"
}

/// Compares with a stored file, or writes it when asked to.
fn hold(path: &Path, text: &str, update: &str) {
    if asked(update) {
        std::fs::write(path, text).unwrap();
    }
    let stored = std::fs::read_to_string(path).unwrap_or_default();
    assert!(stored == text, "{} is stale; run the tests with {update}=1\n{text}", path.display());
}

#[test]
fn every_example_is_valid_and_every_kind_has_one() {
    let values = Values::from([("language".to_owned(), "French".to_owned())]);
    let mut seen = BTreeSet::new();
    for kind in Kind::ALL {
        for file in yaml_files(&root().join("specs").join(kind.slug())) {
            let text = std::fs::read_to_string(&file).unwrap();
            let documents = read(&file.display().to_string(), &text, &values)
                .unwrap_or_else(|problems| panic!("{}", lines(&problems)));
            let kinds: BTreeSet<Kind> = documents.iter().map(Document::kind).collect();
            assert!(kinds.contains(&kind), "{} has no {kind}", file.display());
            assert!(text.lines().any(|line| line.starts_with("# ")), "{} is not annotated", file.display());
            seen.extend(kinds);
        }
    }
    assert_eq!(seen, BTreeSet::from(Kind::ALL));
}

#[test]
fn an_example_written_out_again_reads_the_same() {
    for kind in Kind::ALL {
        for file in yaml_files(&root().join("specs").join(kind.slug())) {
            let text = std::fs::read_to_string(&file).unwrap();
            let values = Values::from([("language".to_owned(), "French".to_owned())]);
            for document in read("first", &text, &values).unwrap() {
                let yaml = serde_yaml::to_string(&document).unwrap();
                let again =
                    spec::parse("again", &yaml).unwrap_or_else(|all| panic!("{yaml}\n{}", lines(&all)));
                assert_eq!(again, std::slice::from_ref(&document), "{yaml}");
                let json = serde_json::to_value(&document).unwrap();
                assert_eq!(serde_json::from_value::<Document>(json).unwrap(), document);
            }
        }
    }
}

#[test]
fn every_mistake_gets_its_message() {
    let files = yaml_files(&root().join("specs/invalid"));
    assert!(files.len() >= 15, "{files:?}");
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        let problems = read(&name, &text, &Values::new()).expect_err(&name);
        for problem in &problems {
            let whole = problem.to_string();
            let Problem { source, line, column, path, message, .. } = problem;
            assert!(whole.starts_with(&format!("{name}:{line}:{column}: {path}: {message}")), "{whole}");
            assert!(*line > 0 && *column > 0 && !source.is_empty() && !path.is_empty(), "{whole}");
            assert!(!message.ends_with('.'), "{whole}");
        }
        hold(&file.with_extension("txt"), &lines(&problems), "UPDATE_MESSAGES");
    }
}

#[test]
fn schemas_are_current_and_complete() {
    let folder = root().join("schemas");
    for (kind, json) in schema::all() {
        let path = folder.join(format!("{}.schema.json", kind.slug()));
        hold(&path, &schema::to_file_text(json), "UPDATE_SCHEMAS");
        assert_eq!(json["additionalProperties"], false, "{kind} refuses unknown fields");
        assert_eq!(json, schema::json_schema(*kind));
    }
    assert_eq!(schema::all().len(), Kind::ALL.len());
}

/// What `meshagent process spec` of the public client prints into a pipe: wrapped at 80 columns, to the left edge.
#[test]
fn wrapped_output_of_process_spec_is_read() {
    let text = "version: v1\nkind: Service\nenabled: true\nmetadata:\n  name: support-agent\n  annotations:\n    \
        meshagent.service.id: support-agent\nagents:\n- name: support-agent\n  annotations: {}\nports: []\n\
        container:\n  image: meshagent/cli:default\n  template: agent\n  command: \"meshagent process join \
        --agent-name support-agent --channel\nqueue:support-jobs --channel toolkit:support-agent --require-storage \
        --rule 'You\nare a helpful support agent.'\"\n  environment:\n  - name: MESHAGENT_TOKEN\n    token:\n      \
        identity: support-agent\n      api:\n        livekit: {}\n        queues:\n          list: true\n      \
        role: agent\n  private: true\n\n";
    let documents = spec::parse("stdin", text).unwrap_or_else(|all| panic!("{}", lines(&all)));
    let [Document::Service(service)] = documents.as_slice() else { panic!("{documents:?}") };
    assert_eq!(
        service.container.as_ref().unwrap().command.as_deref().unwrap(),
        "meshagent process join --agent-name support-agent --channel queue:support-jobs --channel \
         toolkit:support-agent --require-storage --rule 'You are a helpful support agent.'"
    );
}
