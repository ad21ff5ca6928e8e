//! The instructions of a turn: rules given once, files read for every turn (process agents §19).

use super::config::RulesConfig;
use super::path::room_path;
use super::skills;
use super::tools::lost;
use super::turn::Failure;
use crate::client::room::{RoomClient, RoomError};

/// Largest rules file, bytes.
const RULES_BYTES_MAX: usize = 1024 * 1024;
/// Stands in for missing rules, so that a watcher sees progress.
const PREAMBLE: &str = "Before you call a tool, say in one short sentence what you are about to do.";
/// What a rules file is made with.
const EMPTY_RULES: &str =
    "# Rules for the agent, one per line, read for every turn. Lines that begin with # are left out.\n";
/// Always the last line.
const CLOSING: &str = "It is your turn now: do what was asked, with the tools where they help.";

/// The rules of a file: one per line. Blank lines and lines that begin with `#` are left out, and so are sections
/// (`[client]` and what follows), which speak to one kind of client only.
#[must_use]
pub fn lines(text: &str) -> Vec<String> {
    let general = text.lines().map(str::trim).take_while(|line| !is_section(line));
    general.filter(|line| !line.is_empty() && !line.starts_with('#')).map(str::to_owned).collect()
}

fn is_section(line: &str) -> bool {
    line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).is_some_and(|name| !name.trim().is_empty())
}

/// Why a file of instructions is not there.
enum Missing {
    Lost(RoomError),
    Other(String),
}

/// The whole instruction text. `given` are the job's own instructions, which count only where the agent has none.
pub async fn instructions(
    config: &RulesConfig,
    files_in_room: bool,
    given: Option<&str>,
    client: &RoomClient,
) -> Result<String, Failure> {
    let mut all = config.rules.clone();
    all.extend(skills::block(&config.skill_dirs, files_in_room, client).await?);
    for path in &config.instructions {
        let text = if files_in_room { room_file(client, path).await } else { local_file(path).await };
        match text {
            Ok(text) => all.push(text),
            Err(Missing::Lost(error)) => return Err(lost(&error)),
            Err(Missing::Other(reason)) => tracing::warn!(path, reason, "the instructions file is left out"),
        }
    }
    for path in &config.room_rules {
        match room_file(client, path).await {
            Ok(text) => all.extend(lines(&text)),
            Err(Missing::Lost(error)) => return Err(lost(&error)),
            Err(Missing::Other(reason)) => {
                tracing::warn!(path, reason, "the room rules are left out");
                if config.makes_room_rules {
                    make_room_file(client, path).await;
                }
            }
        }
    }
    if all.is_empty() {
        all.extend(given.map(str::to_owned));
    }
    if all.is_empty() && config.preamble_rule {
        all.push(PREAMBLE.to_owned());
    }
    all.push(CLOSING.to_owned());
    Ok(all.join("\n"))
}

/// Makes a rules file that says what it is for; one that is there stays as it is.
pub async fn make_room_file(client: &RoomClient, path: &str) {
    let Some(path) = room_path(path) else { return };
    match client.storage().exists(&path).await {
        Ok(false) => {
            if let Err(error) = client.storage().write(&path, false, EMPTY_RULES.as_bytes()).await {
                tracing::warn!(path, %error, "the rules file could not be made");
            }
        }
        Ok(true) => {}
        Err(error) => tracing::warn!(path, %error, "the rules file could not be looked for"),
    }
}

async fn room_file(client: &RoomClient, path: &str) -> Result<String, Missing> {
    let path = room_path(path).ok_or_else(|| Missing::Other("it is no path in the room".into()))?;
    let read = client.storage().read(&path, RULES_BYTES_MAX).await;
    let (data, _) = read.map_err(|error| match error {
        error if error.is_lost() => Missing::Lost(error),
        error => Missing::Other(error.to_string()),
    })?;
    String::from_utf8(data.into()).map_err(|_| Missing::Other("it is no text".into()))
}

async fn local_file(path: &str) -> Result<String, Missing> {
    let other = |error: std::io::Error| Missing::Other(error.to_string());
    let size = tokio::fs::metadata(path).await.map_err(other)?.len();
    if size > RULES_BYTES_MAX as u64 {
        return Err(Missing::Other(format!("it is larger than {RULES_BYTES_MAX} bytes")));
    }
    tokio::fs::read_to_string(path).await.map_err(other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::room::{Options, Token, fake::FakeRoom};

    #[test]
    fn a_rules_file_is_read_line_by_line_up_to_its_first_section() {
        assert_eq!(lines("# no\nBe kind.\n\n  Be brief. \n[studio]\nUse emoji."), ["Be kind.", "Be brief."]);
    }

    #[tokio::test]
    async fn instructions_come_in_the_order_of_the_reference_and_room_rules_are_read_anew() {
        let room = FakeRoom::start().await;
        room.with(|w| w.files.insert("rules.txt".into(), "Room rule.".into()));
        let client = RoomClient::connect(Options::new(room.url.clone(), Token::new("good"))).await.unwrap();
        let mut config = RulesConfig {
            rules: vec!["Rule.".into()],
            instructions: vec!["missing.md".into()],
            room_rules: vec!["/rules.txt".into()],
            preamble_rule: true,
            ..RulesConfig::default()
        };
        let told = instructions(&config, true, Some("Job."), &client).await.unwrap();
        assert_eq!(told, format!("Rule.\nRoom rule.\n{CLOSING}"));
        room.with(|w| w.files.insert("rules.txt".into(), "Changed.".into()));
        assert!(instructions(&config, true, None, &client).await.unwrap().contains("Changed."));
        config.room_rules = vec!["made/rules.txt".into()];
        instructions(&config, true, None, &client).await.unwrap();
        assert!(!client.storage().exists("made/rules.txt").await.unwrap(), "unless it is asked for");
        config.makes_room_rules = true;
        for _ in 0..2 {
            instructions(&config, true, None, &client).await.unwrap();
        }
        let (made, _) = client.storage().read("made/rules.txt", 1000).await.unwrap();
        assert!(lines(std::str::from_utf8(&made).unwrap()).is_empty(), "it holds no rule");
        config = RulesConfig { preamble_rule: true, ..RulesConfig::default() };
        assert_eq!(
            instructions(&config, true, Some("Job."), &client).await.unwrap(),
            format!("Job.\n{CLOSING}")
        );
        assert_eq!(
            instructions(&config, true, None, &client).await.unwrap(),
            format!("{PREAMBLE}\n{CLOSING}")
        );
    }
}
