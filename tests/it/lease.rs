//! Leases over every store: one holder at a time, epochs that only grow, ends that come by time.

use chrono::{DateTime, Utc};
use meshagent::clock::{Clock, Fixed};
use meshagent::lease::{Lease, LeaseError, LeaseStore, MemoryLeases, PostgresLeases, SqliteLeases};
use meshagent::store::postgres::Postgres;
use meshagent::store::sqlite::Sqlite;
use std::sync::Arc;
use std::time::Duration;

const TTL: Duration = Duration::from_secs(10);

fn clock() -> Arc<Fixed> {
    Arc::new(Fixed::at(DateTime::<Utc>::UNIX_EPOCH + chrono::Duration::days(20_000)))
}

async fn one_holder_at_a_time(leases: Arc<dyn LeaseStore>) {
    assert_eq!(leases.current("room/1").await.unwrap(), None);
    let first = leases.acquire("room/1", "a", "http://a", TTL).await.unwrap();
    assert_eq!((first.epoch, first.holder.as_str(), first.url.as_str()), (1, "a", "http://a"));
    let held = leases.acquire("room/1", "b", "http://b", TTL).await.unwrap_err();
    assert!(matches!(&held, LeaseError::Held(by) if by.holder == "a" && by.url == "http://a"), "{held}");
    assert_eq!(leases.current("room/1").await.unwrap().unwrap().holder, "a");
    let again = leases.acquire("room/1", "a", "http://a2", TTL).await.unwrap();
    assert_eq!(
        (again.epoch, again.url.as_str()),
        (2, "http://a2"),
        "the holder may be another run of the server"
    );
    assert!(
        matches!(leases.renew(&first, TTL).await, Err(LeaseError::Lost { epoch: 1, .. })),
        "it is fenced off"
    );
    let first = again;
    let other = leases.acquire("room/2", "b", "http://b", TTL).await.unwrap();
    assert_eq!(other.epoch, 1);
    let renewed = leases.renew(&first, TTL).await.unwrap();
    assert!(renewed.until >= first.until);

    let names = |all: Vec<Lease>| all.into_iter().map(|lease| lease.name).collect::<Vec<_>>();
    assert_eq!(names(leases.list("room/", 10).await.unwrap()), ["room/1", "room/2"]);
    assert_eq!(names(leases.list("room/", 1).await.unwrap()), ["room/1"]);
    assert_eq!(names(leases.list("room_", 10).await.unwrap()), [""; 0], "plain text, no pattern");
    leases.release(&first).await.unwrap();
    assert_eq!(names(leases.list("room/", 10).await.unwrap()), ["room/2"], "those in force");
    assert_eq!(leases.current("room/1").await.unwrap(), None);
    assert!(matches!(leases.renew(&first, TTL).await, Err(LeaseError::Lost { epoch: 2, .. })));
    let second = leases.acquire("room/1", "b", "http://b", TTL).await.unwrap();
    assert_eq!(second.epoch, 3, "epochs only grow, over a release too");
    leases.release(&first).await.unwrap();
    assert_eq!(leases.current("room/1").await.unwrap().unwrap().holder, "b", "a stale release takes nothing");
    leases.release(&second).await.unwrap();
    assert_eq!(leases.acquire("room/1", "b", "http://b", TTL).await.unwrap().epoch, 4);
}

async fn ends_come_by_time(leases: Arc<dyn LeaseStore>, clock: Arc<Fixed>) {
    let first = leases.acquire("room/1", "a", "http://a", TTL).await.unwrap();
    assert_eq!(first.until, clock.now() + TTL);
    clock.advance(chrono::Duration::seconds(6));
    let renewed = leases.renew(&first, TTL).await.unwrap();
    clock.advance(chrono::Duration::seconds(9));
    assert!(leases.acquire("room/1", "b", "http://b", TTL).await.is_err());
    clock.advance(chrono::Duration::seconds(1));
    assert_eq!(leases.current("room/1").await.unwrap(), None);
    assert!(matches!(leases.renew(&renewed, TTL).await, Err(LeaseError::Lost { .. })), "over is over");
    let second = leases.acquire("room/1", "b", "http://b", TTL).await.unwrap();
    assert_eq!(second.epoch, 2);
    assert!(matches!(leases.renew(&renewed, TTL).await, Err(LeaseError::Lost { .. })));
    clock.advance(chrono::Duration::seconds(60));
    assert_eq!(
        leases.acquire("room/1", "b", "http://b", TTL).await.unwrap().epoch,
        3,
        "a gap is a new epoch"
    );
}

async fn only_one_of_many_gets_it(leases: Arc<dyn LeaseStore>) {
    let mut askers = tokio::task::JoinSet::new();
    for n in 0..16 {
        let leases = Arc::clone(&leases);
        askers
            .spawn(async move { leases.acquire("room/1", &format!("h{n}"), "http://h", TTL).await.is_ok() });
    }
    let winners = askers.join_all().await.into_iter().filter(|won| *won).count();
    assert_eq!(winners, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_leases() {
    let new = |clock: Arc<Fixed>| Arc::new(MemoryLeases::new(clock));
    one_holder_at_a_time(new(clock())).await;
    only_one_of_many_gets_it(new(clock())).await;
    let shared = clock();
    ends_come_by_time(new(Arc::clone(&shared)), shared).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_leases() {
    let directories = [(); 3].map(|()| tempfile::tempdir().unwrap());
    let new = |n: usize, clock: Arc<Fixed>| {
        let database = Sqlite::open(directories[n].path()).unwrap();
        Arc::new(SqliteLeases::new(Arc::new(database), clock))
    };
    one_holder_at_a_time(new(0, clock())).await;
    only_one_of_many_gets_it(new(1, clock())).await;
    let shared = clock();
    ends_come_by_time(new(2, Arc::clone(&shared)), shared).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_leases() {
    for n in 0..3 {
        let Some(url) = crate::support::postgres::database().await else { return };
        let leases = Arc::new(PostgresLeases::new(Arc::new(Postgres::open(&url).await.unwrap())));
        match n {
            0 => one_holder_at_a_time(leases).await,
            1 => only_one_of_many_gets_it(leases).await,
            _ => the_databases_time_ends_them(leases).await,
        }
    }
}

/// The database's clock cannot be moved: short leases, and the second holder asks until it is let in.
async fn the_databases_time_ends_them(leases: Arc<dyn LeaseStore>) {
    let first = leases.acquire("room/1", "a", "http://a", Duration::from_millis(300)).await.unwrap();
    let renewed = leases.renew(&first, Duration::from_millis(400)).await.unwrap();
    assert!(renewed.until > first.until);
    let second = tokio::time::timeout(Duration::from_secs(20), async {
        loop {
            match leases.acquire("room/1", "b", "http://b", TTL).await {
                Ok(lease) => return lease,
                Err(LeaseError::Held(by)) => assert_eq!(by.holder, "a"),
                Err(other) => panic!("{other}"),
            }
        }
    });
    assert_eq!(second.await.unwrap().epoch, 2);
    assert!(matches!(leases.renew(&renewed, TTL).await, Err(LeaseError::Lost { .. })));
}
