//! The crash harness: `kill -9` the server at random moments while clients work, and hold what it acknowledged
//! against what is there afterwards. Client-side lists are the witness; the server is asked only at the end.

pub mod agents;
mod apis;
mod ledger;
mod messages;
mod server;
mod verify;
mod work;

pub use ledger::Ledger;
pub use verify::Verdict;

use crate::client::rest::{Bearer, ProjectRest, Rest};
use crate::client::token::{self, Participant};
use crate::spec::ApiScope;
use crate::spec::grant::SecretsGrant;
use server::ServerUnderTest;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Room that the work goes to.
const ROOM: &str = "crash";
/// Queue that items go through.
const QUEUE: &str = "jobs";
/// The server lives this long in a round, milliseconds: from just started to well under way.
const LIFE_MS: std::ops::Range<u64> = 20..600;
/// Writers of each kind.
const WRITERS: usize = 4;

/// How to run it.
#[derive(Clone, Debug)]
pub struct Options {
    /// The binary under test.
    pub program: PathBuf,
    pub rounds: u32,
    /// Makes the moments of death repeatable.
    pub seed: u64,
    pub database_url: Option<String>,
}

/// Why the harness itself stopped; a loss is a [`Verdict`], not an error.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot run {what}: {source}")]
    Io { what: String, source: std::io::Error },
    #[error("the server did not become ready after round {round}: {said}")]
    NotReady { round: u32, said: String },
    #[error("the server could not be asked at the end: {0}")]
    Ask(String),
}

/// Runs all rounds, then checks.
pub async fn run(options: &Options, mut report: impl FnMut(String)) -> Result<Verdict, Error> {
    let folder = server::Folder::make()?;
    let mut server = ServerUnderTest::new(options, folder.path())?;
    let ledger = Arc::new(Ledger::default());
    let mut dice = Dice(options.seed | 1);
    for round in 1..=options.rounds {
        let connection = server.start(round).await?;
        let site = site(&connection)?;
        work::prepare(&site).await;
        let mut workers = work::start(&site, &ledger, round);
        workers.extend(apis::start(&site, &ledger, round));
        workers.push(messages::start(&site, &ledger, round));
        tokio::time::sleep(Duration::from_millis(dice.between(LIFE_MS))).await;
        server.kill_9()?;
        for worker in workers {
            // A worker whose server died ends by itself; what it was not told stays in doubt.
            let _ = worker.await;
        }
        if round % 10 == 0 || round == options.rounds {
            report(format!("round {round}: {ledger}"));
        }
    }
    let connection = server.start(options.rounds + 1).await?;
    let mut verdict = verify::check(&site(&connection)?, &ledger).await?;
    server.stop().await?;
    verdict.log = server.verify_log().await?;
    Ok(verdict)
}

/// The server of a round, as its clients know it.
#[derive(Clone)]
struct Site {
    project: ProjectRest,
    /// A participant token for [`ROOM`] that may do everything.
    token: String,
}

fn site(connection: &server::Connection) -> Result<Site, Error> {
    let ask = |error: &dyn std::error::Error| Error::Ask(error.to_string());
    let bearer = Bearer::new(connection.api_key.clone());
    let rest = Rest::new(&connection.api_url, Some(bearer)).map_err(|e| ask(&e))?;
    let scope = ApiScope { secrets: Some(SecretsGrant::default()), ..ApiScope::full() };
    let participant = Participant {
        name: "crash".to_owned(),
        room: Some(ROOM.to_owned()),
        role: Some("agent".to_owned()),
        api: Some(scope.to_token_value()),
    };
    let token = token::sign(&connection.api_key, &participant).map_err(|e| ask(&e))?;
    Ok(Site { project: rest.project(&connection.project_id), token })
}

/// A small repeatable generator (xorshift); the moments of death need no better.
struct Dice(u64);

impl Dice {
    fn between(&mut self, range: std::ops::Range<u64>) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        range.start + self.0 % (range.end - range.start)
    }
}
