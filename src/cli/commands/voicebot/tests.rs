use super::*;
use crate::cli::commands::process::rewrite;
use clap::Parser;
use std::ffi::OsString;

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    args: SpecArgs,
}

fn document_of(line: &str) -> Result<String, CliError> {
    let argv: Vec<String> = ["meshagent", "voicebot", "spec"]
        .into_iter()
        .map(str::to_owned)
        .chain(shlex::split(line).unwrap())
        .collect();
    let parsed = rewrite(argv.iter().map(OsString::from)).into_iter().enumerate();
    // Without `voicebot spec`, which the whole program's parser takes.
    let line = Line::try_parse_from(parsed.filter(|(n, _)| !(1..=2).contains(n)).map(|(_, a)| a)).unwrap();
    document(&line.args.service, &line.args.bot, &argv)
}

#[test]
fn a_voicebot_gives_the_document_of_the_official_tool() {
    let line = "--service-name vb --service-title T --service-description D --agent-name bot --rule \"Be kind.\" \
                -rr rules.txt --voice ash --auto-greet-message \"Hi there\"";
    assert_eq!(format!("{}\n", document_of(line).unwrap()), include_str!("official.yaml"));
}

#[test]
fn a_voicebot_is_a_process_agent_that_speaks() {
    let line =
        Line::try_parse_from(["x", "--agent-name", "bot", "--voice", "ash", "--auto-greet-prompt", "Greet."]);
    let bot = line.unwrap().args.bot;
    let process = bot.as_process(&RoomArgs::default()).unwrap().process;
    assert_eq!(process.model.models, ["openai-realtime/gpt-realtime"]);
    assert_eq!(process.voice.config().voice, "ash");
    let refused = document_of("--agent-name bot --model gpt-4o").unwrap_err();
    assert!(refused.to_string().contains("neither hears nor speaks"), "{refused}");
}
