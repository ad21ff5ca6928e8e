//! What every engine must do.

use super::{Engine, Memory, OnPostgres, OnSqlite, clock, event, write};
use meshagent::eventlog::export::{Imported, export, import};
use meshagent::eventlog::memory::MemoryLog;
use meshagent::eventlog::{
    AppendError, EventLog, Expected, Filter, KindFilter, LogError, PAGE_EVENTS_MAX, Recorded,
    SNAPSHOT_BYTES_MAX, Snapshot, StreamWrite, Tail,
};
use meshagent::id::{Position, ProjectId, StreamId};
use std::sync::Arc;
use uuid::Uuid;

macro_rules! on_every_engine {
    ($($case:ident),* $(,)?) => {
        on_every_engine!(@ memory, Memory, $($case),*);
        on_every_engine!(@ sqlite, OnSqlite, $($case),*);
        on_every_engine!(@ postgres, OnPostgres, $($case),*);
    };
    (@ $module:ident, $engine:ident, $($case:ident),*) => {
        mod $module {
            use super::{Engine, $engine};
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                let Some(engine) = <$engine as Engine>::open().await else { return };
                super::$case(engine.log()).await;
                let report = engine.log().verify().await.unwrap();
                assert!(report.is_sound(), "{:?}", report.problems);
            })*
        }
    };
}

on_every_engine! {
    records_what_was_written,
    expected_versions_are_kept,
    a_retry_returns_the_original_records,
    an_event_id_is_used_once,
    several_streams_are_written_together_or_not_at_all,
    a_conflict_fails_only_its_own_append,
    positions_have_no_gaps_under_concurrent_writers,
    exactly_one_of_racing_writers_wins,
    a_tail_misses_and_repeats_nothing,
    a_tail_with_a_filter_moves_on,
    streams_are_read_by_version,
    filters_narrow,
    pages_are_bounded,
    snapshots_are_kept_replaced_and_forgotten,
    what_cannot_be_stored_is_refused,
    an_export_comes_back_byte_for_byte,
    an_import_that_does_not_fit_is_refused,
}

const WRITERS: u128 = 16;
const EACH: u128 = 40;

fn memory() -> Arc<dyn EventLog> {
    Arc::new(MemoryLog::new(clock()))
}

fn stream(name: &str) -> StreamId {
    StreamId::from_stored(name.to_owned())
}

async fn all(log: &Arc<dyn EventLog>) -> Vec<Recorded> {
    log.read(Position(0), &Filter::all(), usize::MAX).await.unwrap()
}

fn ids(events: &[Recorded]) -> Vec<u128> {
    events.iter().map(|e| e.event_id.as_u128()).collect()
}

async fn records_what_was_written(log: Arc<dyn EventLog>) {
    assert_eq!(log.head().await.unwrap(), Position(0));
    let mut full = event(2, "room.deleted");
    full.metadata.project = Some(ProjectId::new(Uuid::from_u128(9)));
    full.metadata.on_behalf_of = Some("someone".into());
    full.metadata.causation = Some(Uuid::from_u128(1));
    full.metadata.request_id = Some("r-1".into());
    full.schema_version = u16::MAX;
    let given = vec![event(1, "room.created"), full];
    let write = StreamWrite { stream: stream("room-a"), expected: Expected::NoStream, events: given.clone() };
    let appended = log.append(vec![write]).await.unwrap();
    assert!(!appended.repeated);
    let read = all(&log).await;
    assert_eq!(read, appended.events);
    for (index, (read, given)) in read.iter().zip(&given).enumerate() {
        assert_eq!(read.position, Position(index as u64 + 1));
        assert_eq!(read.version, index as u64 + 1);
        assert_eq!((&read.kind, &read.data, &read.metadata), (&given.kind, &given.data, &given.metadata));
        assert_eq!((read.event_id, read.schema_version), (given.event_id, given.schema_version));
        assert_eq!(read.recorded_at.to_rfc3339(), "2027-01-15T08:00:00.123456+00:00");
    }
    assert_eq!(log.head().await.unwrap(), Position(2));
    assert_eq!(*log.changes().borrow(), Position(2));
}

async fn expected_versions_are_kept(log: Arc<dyn EventLog>) {
    let exactly = |n, id| vec![write("room-a", Expected::Exact(n), [id])];
    let conflict = log.append(exactly(1, 1)).await.unwrap_err();
    let expected =
        AppendError::Conflict { stream: stream("room-a"), expected: Expected::Exact(1), actual: 0 };
    assert_eq!(conflict, expected);
    log.append(vec![write("room-a", Expected::NoStream, [2, 3])]).await.unwrap();
    let conflict = log.append(vec![write("room-a", Expected::NoStream, [4])]).await.unwrap_err();
    assert!(
        conflict.to_string().contains("`room-a` is at version 2, not unwritten as expected"),
        "{conflict}"
    );
    log.append(exactly(2, 5)).await.unwrap();
    assert!(matches!(log.append(exactly(2, 6)).await, Err(AppendError::Conflict { actual: 3, .. })));
    log.append(vec![write("room-a", Expected::Any, [7])]).await.unwrap();
    // Only a check.
    assert!(log.append(exactly(3, 8)).await.is_err());
    let empty = |n| vec![write("room-a", Expected::Exact(n), [])];
    assert!(log.append(empty(4)).await.unwrap().events.is_empty());
    assert!(matches!(log.append(empty(3)).await, Err(AppendError::Conflict { actual: 4, .. })));
    // A later write of one append sees the one before it.
    let twice =
        vec![write("room-b", Expected::NoStream, [10, 11]), write("room-b", Expected::Exact(2), [12])];
    let versions: Vec<_> = log.append(twice).await.unwrap().events.iter().map(|e| e.version).collect();
    assert_eq!(versions, [1, 2, 3]);
    assert_eq!(ids(&all(&log).await), [2, 3, 5, 7, 10, 11, 12]);
}

async fn a_retry_returns_the_original_records(log: Arc<dyn EventLog>) {
    let append = || vec![write("room-a", Expected::NoStream, [1, 2]), write("room-b", Expected::Any, [3])];
    let first = log.append(append()).await.unwrap();
    log.append(vec![write("room-a", Expected::Any, [4])]).await.unwrap();
    let again = log.append(append()).await.unwrap();
    assert!(again.repeated);
    assert_eq!(again.events, first.events);
    // Without an expectation that fails, too.
    let again = log.append(vec![write("room-a", Expected::Any, [4])]).await.unwrap();
    assert!(again.repeated && again.events[0].version == 3);
    assert_eq!(ids(&all(&log).await), [1, 2, 3, 4]);
}

async fn an_event_id_is_used_once(log: Arc<dyn EventLog>) {
    log.append(vec![write("room-a", Expected::Any, [1, 2])]).await.unwrap();
    let reused = |e| matches!(e, AppendError::IdReused { .. });
    for bad in [
        vec![write("room-b", Expected::Any, [1, 2])],
        vec![write("room-a", Expected::Any, [3, 1])],
        vec![write("room-a", Expected::Any, [2, 1])],
        vec![write("room-a", Expected::Any, [1, 2, 3])],
        vec![write("room-a", Expected::Any, [5]), write("room-b", Expected::Any, [5])],
        vec![StreamWrite {
            stream: stream("room-a"),
            expected: Expected::Any,
            events: vec![event(1, "other.kind"), event(2, "other.kind")],
        }],
    ] {
        assert!(reused(log.append(bad.clone()).await.unwrap_err()), "{bad:?}");
    }
    assert_eq!(ids(&all(&log).await), [1, 2]);
}

async fn several_streams_are_written_together_or_not_at_all(log: Arc<dyn EventLog>) {
    let both = vec![write("room-a", Expected::NoStream, [1]), write("room-b", Expected::NoStream, [2])];
    log.append(both).await.unwrap();
    let half = vec![write("room-c", Expected::NoStream, [3]), write("room-b", Expected::NoStream, [4])];
    assert!(matches!(log.append(half).await, Err(AppendError::Conflict { .. })));
    assert!(log.read_stream(&stream("room-c"), 0, 10).await.unwrap().is_empty());
    log.append(vec![write("room-c", Expected::NoStream, [3])]).await.unwrap();
    let places: Vec<_> = all(&log).await.iter().map(|e| (e.position.0, e.version)).collect();
    assert_eq!(places, [(1, 1), (2, 1), (3, 1)]);
}

/// Good and bad appends made at one time, so that they share transactions.
async fn a_conflict_fails_only_its_own_append(log: Arc<dyn EventLog>) {
    let append = |n: u128| {
        let log = Arc::clone(&log);
        async move {
            let expected = if n.is_multiple_of(3) { Expected::Exact(99) } else { Expected::NoStream };
            let writes = vec![write(&format!("room-{n}"), expected, [n * 2 + 1, n * 2 + 2])];
            (n, log.append(writes).await)
        }
    };
    for (n, result) in futures_util::future::join_all((0..60).map(append)).await {
        assert_eq!(result.is_err(), n.is_multiple_of(3), "{n}: {result:?}");
    }
    assert_eq!(all(&log).await.len(), 80);
}

fn concurrent_writers(log: &Arc<dyn EventLog>) -> Vec<tokio::task::JoinHandle<()>> {
    let writer = |w: u128| {
        let log = Arc::clone(log);
        tokio::spawn(async move {
            for n in 0..EACH {
                let id = w * 1000 + n + 1;
                let own = write(&format!("room-{w}"), Expected::Exact(u64::try_from(n).unwrap()), [id]);
                let shared = write("shared-all", Expected::Any, [id + 1_000_000]);
                log.append(vec![own, shared]).await.unwrap();
            }
        })
    };
    (0..WRITERS).map(writer).collect()
}

async fn positions_have_no_gaps_under_concurrent_writers(log: Arc<dyn EventLog>) {
    for writer in concurrent_writers(&log) {
        writer.await.unwrap();
    }
    let events = all(&log).await;
    assert_eq!(events.len() as u128, WRITERS * EACH * 2);
    assert!(events.iter().zip(1..).all(|(event, n)| event.position == Position(n)));
    let shared = log.read_stream(&stream("shared-all"), 0, usize::MAX).await.unwrap();
    assert!(shared.iter().zip(1..).all(|(event, n)| event.version == n));
    assert!(shared.is_sorted_by_key(|event| event.position));
    assert_eq!(log.head().await.unwrap().0, events.len() as u64);
}

async fn exactly_one_of_racing_writers_wins(log: Arc<dyn EventLog>) {
    for round in 0..20_u64 {
        let race = |w: u128| {
            let log = Arc::clone(&log);
            let id = u128::from(round) * 100 + w + 1;
            tokio::spawn(async move { log.append(vec![write("room-a", Expected::Exact(round), [id])]).await })
        };
        let racers: Vec<_> = (0..8).map(race).collect();
        let mut won = 0;
        for racer in racers {
            match racer.await.unwrap() {
                Ok(appended) => won += usize::from(!appended.repeated),
                Err(error) => assert!(matches!(error, AppendError::Conflict { .. }), "{error}"),
            }
        }
        assert_eq!(won, 1);
    }
}

/// Readers that start before, in the middle of and after the writing see the same.
async fn a_tail_misses_and_repeats_nothing(log: Arc<dyn EventLog>) {
    let total = u64::try_from(WRITERS * EACH * 2).unwrap();
    let follow = |after: u64| {
        let mut tail = Tail::new(Arc::clone(&log), Position(after), Filter::all());
        tokio::spawn(async move {
            let mut seen = after;
            while seen < total {
                for event in tail.next().await.unwrap() {
                    seen += 1;
                    assert_eq!(event.position, Position(seen));
                }
                assert_eq!(tail.position(), Position(seen));
            }
        })
    };
    let early = [follow(0), follow(0)];
    let writers = concurrent_writers(&log);
    let mut changes = log.changes();
    changes.wait_for(|head| head.0 >= 50).await.unwrap();
    let middle = [follow(0), follow(50), follow(total / 2)];
    for task in writers.into_iter().chain(early).chain(middle).chain([follow(3)]) {
        task.await.unwrap();
    }
    let mut idle = Tail::new(Arc::clone(&log), Position(total), Filter::all());
    assert!(idle.ready().await.unwrap().is_empty());
}

async fn a_tail_with_a_filter_moves_on(log: Arc<dyn EventLog>) {
    let mut tail = Tail::new(Arc::clone(&log), Position(0), Filter::category("task"));
    log.append(vec![write("room-a", Expected::Any, 1..=20)]).await.unwrap();
    assert!(tail.ready().await.unwrap().is_empty());
    assert_eq!(tail.position(), Position(20), "what does not pass is not read again");
    log.append(vec![write("task-a", Expected::Any, [21])]).await.unwrap();
    assert_eq!(ids(&tail.next().await.unwrap()), [21]);
}

async fn streams_are_read_by_version(log: Arc<dyn EventLog>) {
    log.append(vec![write("room-a", Expected::Any, 1..=5), write("room-ab", Expected::Any, [6])])
        .await
        .unwrap();
    let read = |after, limit| {
        let log = Arc::clone(&log);
        async move { ids(&log.read_stream(&stream("room-a"), after, limit).await.unwrap()) }
    };
    assert_eq!(read(0, 100).await, [1, 2, 3, 4, 5]);
    assert_eq!(read(2, 2).await, [3, 4]);
    assert_eq!(read(5, 2).await, [0_u128; 0]);
    assert_eq!(read(u64::MAX, usize::MAX).await, [0_u128; 0]);
    assert!(log.read_stream(&stream("room-none"), 0, 10).await.unwrap().is_empty());
}

async fn filters_narrow(log: Arc<dyn EventLog>) {
    let project = ProjectId::new(Uuid::from_u128(5));
    let mut named = event(3, "room.created");
    named.metadata.project = Some(project);
    let to = |name: &str, events| StreamWrite { stream: stream(name), expected: Expected::Any, events };
    log.append(vec![
        to("room-a-1", vec![event(1, "room.created"), event(2, "room.deleted")]),
        to("room-b", vec![named]),
        to("rooms-b", vec![event(4, "rooms.created"), event(5, "room%.x")]),
        to("room", vec![event(6, "roo_.y")]),
        to("task-a-1", vec![event(7, "task.fired")]),
    ])
    .await
    .unwrap();
    let kinds = |texts: &[&str]| Filter {
        kinds: texts.iter().map(|t| KindFilter::parse(t)).collect(),
        ..Filter::all()
    };
    let subject = |text: &str| Filter { subject: Some(text.to_owned()), ..Filter::all() };
    let categories = Filter { categories: vec!["task".into(), "rooms".into()], ..Filter::all() };
    let both = Filter { kinds: vec![KindFilter::Prefix("room.".into())], ..Filter::category("room") };
    for (filter, wanted) in [
        (Filter::all(), vec![1, 2, 3, 4, 5, 6, 7]),
        (Filter::category("room"), vec![1, 2, 3, 6]),
        (categories, vec![4, 5, 7]),
        (kinds(&["room.created"]), vec![1, 3]),
        (kinds(&["room.", "task.*"]), vec![1, 2, 3, 7]),
        (kinds(&["room%.", "roo_."]), vec![5, 6]),
        (subject("room-b"), vec![3]),
        (subject("b"), vec![3, 4, 5]),
        (subject("a-1"), vec![1, 2, 7]),
        (subject("1"), vec![]),
        (subject("room"), vec![6]),
        (Filter { project: Some(project), ..Filter::all() }, vec![3]),
        (both, vec![1, 2, 3]),
    ] {
        let found = log.read(Position(0), &filter, 100).await.unwrap();
        assert_eq!(ids(&found), wanted, "{filter:?}");
        assert!(found.iter().all(|event| filter.matches(event)));
    }
    assert_eq!(ids(&log.read(Position(1), &Filter::category("room"), 2).await.unwrap()), [2, 3]);
}

async fn pages_are_bounded(log: Arc<dyn EventLog>) {
    let count = PAGE_EVENTS_MAX as u128 + 10;
    log.append(vec![write("room-a", Expected::Any, 1..=count)]).await.unwrap();
    assert_eq!(all(&log).await.len(), PAGE_EVENTS_MAX);
    assert_eq!(log.read_stream(&stream("room-a"), 0, usize::MAX).await.unwrap().len(), PAGE_EVENTS_MAX);
    let rest = log.read(Position(PAGE_EVENTS_MAX as u64), &Filter::all(), usize::MAX).await.unwrap();
    assert_eq!(rest.len(), 10);
    assert_eq!(ids(&log.read(Position(5), &Filter::all(), 3).await.unwrap()), [6, 7, 8]);
    assert!(log.read(Position(u64::MAX), &Filter::all(), 3).await.unwrap().is_empty());
}

async fn snapshots_are_kept_replaced_and_forgotten(log: Arc<dyn EventLog>) {
    let snapshot = |name: &str, n: u32| Snapshot {
        name: name.to_owned(),
        position: Position(u64::from(n)),
        format: n,
        data: vec![0, 255, n.to_le_bytes()[0]],
    };
    assert_eq!(log.load_snapshot("rooms").await.unwrap(), None);
    for saved in [snapshot("rooms", 1), snapshot("tasks", 2), snapshot("rooms", 3)] {
        log.save_snapshot(saved).await.unwrap();
    }
    assert_eq!(log.load_snapshot("rooms").await.unwrap(), Some(snapshot("rooms", 3)));
    log.delete_snapshot("rooms").await.unwrap();
    log.delete_snapshot("rooms").await.unwrap();
    assert_eq!(log.load_snapshot("rooms").await.unwrap(), None);
    assert_eq!(log.load_snapshot("tasks").await.unwrap(), Some(snapshot("tasks", 2)));
    let large = Snapshot { data: vec![0; SNAPSHOT_BYTES_MAX + 1], ..snapshot("large", 1) };
    assert!(matches!(log.save_snapshot(large).await, Err(LogError::SnapshotTooLarge { .. })));
}

async fn what_cannot_be_stored_is_refused(log: Arc<dyn EventLog>) {
    let with = |data: String| {
        let bad = meshagent::eventlog::NewEvent { data, ..event(1, "a.b") };
        vec![StreamWrite { stream: stream("room-a"), expected: Expected::Any, events: vec![bad] }]
    };
    let error = log.append(with("{".into())).await.unwrap_err();
    assert!(error.to_string().contains("`a.b`") && error.to_string().contains("not JSON"), "{error}");
    assert!(matches!(log.append(with("{\n}".into())).await, Err(AppendError::NotJson { .. })));
    let large = format!("\"{}\"", "x".repeat(meshagent::eventlog::EVENT_BYTES_MAX));
    let error = log.append(with(large)).await.unwrap_err();
    assert!(matches!(error, AppendError::TooLarge { limit: 1_048_576, .. }), "{error}");
    let many = log.append(vec![write("room-a", Expected::Any, 1..=100_001)]).await.unwrap_err();
    assert!(many.to_string().contains("100001 events in one append, the limit is 100000"), "{many}");
    for name in ["", "room-\0", "room-\n"] {
        let error = log.append(vec![write(name, Expected::Any, [1])]).await.unwrap_err();
        assert!(matches!(error, AppendError::BadName { .. }), "{error}");
    }
    assert_eq!(log.head().await.unwrap(), Position(0));
}

async fn exported(log: &Arc<dyn EventLog>) -> Vec<u8> {
    let mut lines = Vec::new();
    export(&**log, &mut lines).await.unwrap();
    lines
}

/// From memory into the engine, out of it, and into memory again.
async fn an_export_comes_back_byte_for_byte(log: Arc<dyn EventLog>) {
    let source = memory();
    for n in 0..1500_u128 {
        let writes = vec![write(&format!("room-{}", n % 7), Expected::Any, [n * 2 + 1, n * 2 + 2])];
        source.append(writes).await.unwrap();
    }
    let lines = exported(&source).await;
    let first = Imported { restored: 3000, present: 0 };
    assert_eq!(import(&*log, &mut lines.as_slice()).await.unwrap(), first);
    assert_eq!(*log.changes().borrow(), Position(3000));
    assert_eq!(exported(&log).await, lines);
    let again = Imported { restored: 0, present: 3000 };
    assert_eq!(import(&*log, &mut lines.as_slice()).await.unwrap(), again);
    log.append(vec![write("room-0", Expected::Exact(430), [9999])]).await.unwrap();
    let last = memory();
    import(&*last, &mut exported(&log).await.as_slice()).await.unwrap();
    assert_eq!(all(&last).await, all(&log).await);
}

async fn an_import_that_does_not_fit_is_refused(log: Arc<dyn EventLog>) {
    let source = memory();
    source.append(vec![write("room-a", Expected::Any, 1..=5)]).await.unwrap();
    let lines = String::from_utf8(exported(&source).await).unwrap();
    let line = |n: usize| lines.lines().nth(n).unwrap();
    let refused = async |text: String| import(&*log, &mut text.as_bytes()).await.unwrap_err().to_string();
    for (text, wanted) in [
        (String::new(), "not the head of a log export"),
        (format!("{}\n", line(1)), "not the head of a log export"),
        (line(0).replace("\"version\":1", "\"version\":2"), "newer version"),
        (format!("{}\n{}\n{{\"pos", line(0), line(1)), "line 3 is not an event"),
        (format!("{}\n{}\n{}\n", line(0), line(1), line(3)), "line 3 does not continue"),
        (lines.replace("\"version\":2,\"kind\"", "\"version\":3,\"kind\""), "line 3 does not continue"),
        (lines.lines().take(4).collect::<Vec<_>>().join("\n"), "cut off"),
        (lines.replace("thing.happened", "another.thing"), "event 1 is there already and is different"),
    ] {
        let error = refused(text).await;
        assert!(error.contains(wanted), "{error}");
    }
    // What was good before the bad line was kept, and is not imported twice.
    assert_eq!(log.head().await.unwrap(), Position(3));
    let rest = import(&*log, &mut lines.as_bytes()).await.unwrap();
    assert_eq!(rest, Imported { restored: 2, present: 3 });
    let error = log.restore(all(&source).await).await.unwrap_err();
    assert!(matches!(error, AppendError::NotNext { position: Position(1), head: Position(5) }), "{error}");
}
