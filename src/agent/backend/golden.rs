//! Transcripts of both protocols, in `tests/fixtures/programs`: what is said to a program and heard from it, and what is
//! made of that. `UPDATE_TRANSCRIPTS=1` writes them anew.
//!
//! ```text
//! open [SESSION] | prompt TEXT | permit ITEM yes|no | cancel    what the agent wants
//! < MESSAGE    heard from the program
//! > MESSAGE    said to it
//! = …          told to the thread, asked, done
//! ```

use super::acp::Acp;
use super::codex::Codex;
use super::dialect::{Act, Dialect};
use super::rpc::Heard;
use crate::agent::history::Part;
use crate::clock::Fixed;
use chrono::DateTime;
use std::fmt::Write;
use std::path::PathBuf;
use std::sync::Arc;

/// Ids as short as they are in transcripts.
fn short(text: String) -> String {
    text.replace("00000000-0000-0000-0000-0000000000", "id-")
}

fn long(text: &str) -> String {
    text.replace("id-", "00000000-0000-0000-0000-0000000000")
}

fn shown(act: &Act) -> String {
    short(match act {
        Act::Send(message) => format!("> {message}").replace(env!("CARGO_PKG_VERSION"), "VERSION"),
        other => format!("= {other:?}"),
    })
}

fn played(script: &str, dialect: &mut dyn Dialect) -> String {
    let mut out = String::new();
    for line in script.lines() {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        let acts = match word {
            "#" | "" => Vec::new(),
            "open" => dialect.open(Some(rest).filter(|session| !session.is_empty())),
            "prompt" => dialect.prompt(&[Part::Text(rest.to_owned())]),
            "permit" => {
                let (item, answer) = rest.split_once(' ').unwrap();
                dialect.permit(&long(item), answer == "yes")
            }
            "cancel" => dialect.cancel(),
            "<" => dialect.hear(Heard::read(serde_json::from_str(rest).unwrap()).unwrap()),
            ">" | "=" => continue,
            other => panic!("{other}: {line}"),
        };
        writeln!(out, "{line}").unwrap();
        acts.iter().for_each(|act| writeln!(out, "{}", shown(act)).unwrap());
    }
    out
}

#[test]
fn transcripts_play_as_they_were_written() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/programs");
    let mut count = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let mut dialect: Box<dyn Dialect> = match name.split('-').next().unwrap() {
            "acp" => Box::new(Acp::new("/work", Arc::new(Fixed::at(DateTime::UNIX_EPOCH)))),
            "codex" => Box::new(Codex::new("/work", "gpt-6.1-sol")),
            other => panic!("{other}"),
        };
        let script = std::fs::read_to_string(&path).unwrap();
        let out = played(&script, dialect.as_mut());
        if std::env::var_os("UPDATE_TRANSCRIPTS").is_some() {
            std::fs::write(&path, &out).unwrap();
        } else {
            assert_eq!(out, script, "{name}");
        }
        count += 1;
    }
    assert!(count >= 6, "{count}");
}
