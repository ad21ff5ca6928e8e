//! The outbox over both databases: who is claimed, and whose turn it is.

use chrono::{DateTime, TimeDelta, Utc};
use meshagent::clock::{Clock, System};
use meshagent::id::{MailboxId, ProjectId};
use meshagent::mail::outbox::{Outbox, PostgresOutbox, SqliteOutbox, Submission};
use meshagent::store::postgres::Postgres;
use meshagent::store::sqlite::Sqlite;
use std::sync::Arc;
use uuid::Uuid;

fn project(n: u128) -> ProjectId {
    ProjectId::new(Uuid::from_u128(n))
}

fn letter(of: ProjectId, at: DateTime<Utc>) -> Submission {
    let address = |text: &str| text.parse().unwrap();
    Submission {
        id: Uuid::new_v4(),
        mailbox: MailboxId::new(of, Uuid::from_u128(9)),
        sender: address("bot@desk.test"),
        message_id: Uuid::new_v4().to_string(),
        submitted_at: at,
        message: Arc::from(&b"From: bot@desk.test\r\n\r\nhi\r\n"[..]),
        recipients: vec![(Uuid::now_v7(), Uuid::now_v7(), address("ann@far.test"))],
    }
}

/// A project that has all its places leaves the others theirs, and is not waited for.
async fn busy_projects_are_passed_over(outbox: Arc<dyn Outbox>) {
    let now = System.now() - TimeDelta::seconds(60);
    for n in [1, 1, 2] {
        outbox.submit(letter(project(n), now)).await.unwrap();
    }
    let until = System.now() + TimeDelta::minutes(30);
    let claim = |busy: Vec<ProjectId>| {
        let outbox = Arc::clone(&outbox);
        async move { outbox.claim("here", until, &busy).await.unwrap().map(|one| one.mailbox.project()) }
    };
    assert_eq!(claim(vec![]).await, Some(project(1)));
    assert_eq!(claim(vec![project(1)]).await, Some(project(2)));
    assert_eq!(claim(vec![project(1)]).await, None, "what is left is of a busy project");
    let due = outbox.next_due(&[project(1)]).await.unwrap().unwrap();
    assert!((due - until).num_seconds().abs() <= 1, "the end of the claim on the other one: {due}");
    assert!(outbox.next_due(&[]).await.unwrap().unwrap() <= System.now());
    assert_eq!(claim(vec![project(2)]).await, Some(project(1)));
    assert_eq!(claim(vec![]).await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn busy_projects_on_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    let database = Arc::new(Sqlite::open(folder.path()).unwrap());
    let (clock, ids) = (Arc::new(System), Arc::new(System));
    busy_projects_are_passed_over(Arc::new(SqliteOutbox::new(database, clock, ids))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn busy_projects_on_postgres() {
    let Some(url) = crate::support::postgres::database().await else { return };
    let database = Arc::new(Postgres::open(&url).await.unwrap());
    let (clock, ids) = (Arc::new(System), Arc::new(System));
    busy_projects_are_passed_over(Arc::new(PostgresOutbox::new(database, clock, ids))).await;
}
