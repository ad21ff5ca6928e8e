//! R1 at small scale: kill -9 in the middle of everything, again and again. The long form is `meshagent bench crash`.

use std::process::Command;

const ROUNDS: &str = "20";
const ROUNDS_OF_AGENTS: &str = "5";

#[test]
fn nothing_acknowledged_is_lost_over_twenty_deaths() {
    let output = Command::new(env!("CARGO_BIN_EXE_meshagent"))
        .args(["bench", "crash", "--rounds", ROUNDS])
        .env_remove("MESHAGENT_DATABASE_URL")
        .output()
        .unwrap();
    let text =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
    let acknowledged = text
        .lines()
        .find_map(|line| line.strip_prefix("acknowledged writes: "))
        .and_then(|n| n.parse::<u64>().ok())
        .unwrap_or(0);
    assert!(acknowledged > 100, "the clients hardly worked: {text}");
}

#[test]
fn every_job_of_an_agent_that_dies_again_and_again_ends_once() {
    let output = Command::new(env!("CARGO_BIN_EXE_meshagent"))
        .args(["bench", "crash", "--agents", "--rounds", ROUNDS_OF_AGENTS])
        .env_remove("MESHAGENT_DATABASE_URL")
        .output()
        .unwrap();
    let text =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
    assert!(text.contains("jobs: 40, done once: 38, dead letters: 2"), "{text}");
    assert!(text.contains("threads that read differently after a restart: 0"), "{text}");
    assert!(text.contains("not written: []"), "{text}");
    let hit = text.lines().find_map(|line| line.split_once("ended by a death: "));
    let hit = hit.and_then(|(_, n)| n.parse::<u64>().ok()).unwrap_or(0);
    assert!(hit > 0, "the agent died in no turn: {text}");
}
