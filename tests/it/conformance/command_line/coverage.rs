//! The commands of rooms and files that matter most: none goes without a test.

use super::steps::Step;
use super::{containers, datasets, documents, files, participants, queues, services};
use std::collections::BTreeSet;

/// `GROUP: COMMAND…` a line. A command with no word of its own is the group itself.
const CORE: &str = "
room agent: invoke-tool list-toolkits
room queue: list send send-mail receive size
room messaging: list send broadcast
room storage: exists cp get rm ls
files: exists cp get rm ls
room service: list describe restart
room developer:
room dataset: table inspect create drop insert merge update delete search
room container: list stop log exec run
room sync: get inspect create update
room connect:
";

/// Core commands that cannot be driven, each with the reason.
const EXCEPTIONS: &[(&str, &str)] = &[];

fn core() -> BTreeSet<String> {
    let mut commands = BTreeSet::new();
    for line in CORE.trim().lines() {
        let (group, names) = line.split_once(':').unwrap();
        if names.trim().is_empty() {
            commands.insert(group.to_owned());
        }
        commands.extend(names.split_whitespace().map(|name| format!("{group} {name}")));
    }
    commands
}

/// Command lines of all groups that must succeed; one that must fail shows little.
fn driven() -> Vec<&'static str> {
    let groups: [&[&[Step]]; 7] = [
        containers::STEPS,
        datasets::STEPS,
        documents::STEPS,
        files::STEPS,
        participants::STEPS,
        queues::STEPS,
        services::ALL,
    ];
    let steps = groups.into_iter().flatten().copied().flatten().filter(|step| step.succeeds());
    steps.map(|step| step.line).chain([services::DEVELOPER]).collect()
}

#[test]
fn every_core_command_is_driven() {
    let (core, driven) = (core(), driven());
    let of = |command: &str| driven.iter().any(|line| format!("{line} ").starts_with(&format!("{command} ")));
    let mut wrong = vec![];
    for command in &core {
        let reason = EXCEPTIONS.iter().find(|(name, _)| name == command);
        match (of(command), reason) {
            (false, None) => wrong.push(format!("nobody drives `meshagent {command}`")),
            (true, Some(_)) => wrong.push(format!("`meshagent {command}` is driven; it is no exception")),
            (false, Some((_, reason))) => println!("{command:32} {reason}"),
            (true, None) => println!("{command:32} ok"),
        }
    }
    wrong.extend(
        EXCEPTIONS
            .iter()
            .filter(|(name, _)| !core.contains(*name))
            .map(|(name, _)| format!("no command {name}")),
    );
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
