//! The statements, and how their rows are read. `$1`, `$2` and `$3` are project, room and name of the queue.

use crate::queue::{DeadItem, ItemId, LeaseToken, LeasedItem, QueueItem};
use tokio_postgres::Row;
use uuid::Uuid;

/// The queue's number; nothing where there is no such queue.
macro_rules! queue {
    () => {
        "(SELECT queue_id FROM queues WHERE project = $1 AND room = $2 AND name = $3)"
    };
}

/// The queue's row, locked against its deletion until the transaction ends.
macro_rules! held_queue {
    () => {
        "(SELECT queue_id FROM queues WHERE project = $1 AND room = $2 AND name = $3 FOR KEY SHARE)"
    };
}

pub(super) const EXISTS: &str = concat!("SELECT ", queue!());

/// Whether there is such a queue, and the milliseconds until the next lease or delay of any queue ends.
pub(super) const NOTHING: &str = concat!(
    "SELECT ",
    queue!(),
    ", (SELECT (extract(epoch FROM min(until_at) - clock_timestamp()) * 1000)::bigint \
     FROM queue_items WHERE state IN (1, 2))"
);

pub(super) const CREATE: &str = "INSERT INTO queues (project, room, name) SELECT $1, $2, $3 \
    WHERE (SELECT count(*) FROM queues WHERE project = $1 AND room = $2) < $4 ON CONFLICT DO NOTHING";

pub(super) const LIST: &str = "SELECT q.name, count(i.place) FILTER (WHERE i.state = 0), \
    count(i.place) FILTER (WHERE i.state IN (1, 2)), count(i.place) FILTER (WHERE i.state = 3) \
    FROM queues q LEFT JOIN queue_items i USING (queue_id) \
    WHERE q.project = $1 AND q.room = $2 GROUP BY q.queue_id, q.name ORDER BY q.name";

/// `$4`: how many are worth counting.
pub(super) const COUNT: &str = concat!(
    "SELECT count(*) FROM (SELECT 1 FROM queue_items WHERE queue_id = ",
    queue!(),
    " LIMIT $4) AS counted"
);

/// `$4`: ids.
pub(super) const REMEMBER: &str = concat!(
    "INSERT INTO queue_seen (queue_id, item_id) SELECT q.queue_id, t.id FROM ",
    held_queue!(),
    " AS q, unnest($4::uuid[]) AS t(id) ON CONFLICT DO NOTHING RETURNING item_id"
);

/// `$1`: days to remember; `$2`: how many to forget at most.
pub(super) const FORGET: &str = "DELETE FROM queue_seen WHERE ctid = ANY(ARRAY(SELECT ctid FROM queue_seen \
    WHERE seen_at < now() - make_interval(days => $1) ORDER BY seen_at LIMIT $2 FOR UPDATE SKIP LOCKED))";

/// `$4`: ids, `$5`: bodies.
pub(super) const SEND: &str = concat!(
    "INSERT INTO queue_items (queue_id, item_id, body) SELECT q.queue_id, t.id, t.body FROM ",
    held_queue!(),
    " AS q, unnest($4::uuid[], $5::text[]) WITH ORDINALITY AS t(id, body, n) ORDER BY t.n"
);

/// `$4`: place, `$5`: id, `$6`: attempt, `$7`: body.
pub(super) const PUT_BACK: &str = concat!(
    "INSERT INTO queue_items (place, queue_id, item_id, attempt, body) SELECT $4, q.queue_id, $5, $6, $7 FROM ",
    held_queue!(),
    " AS q"
);

/// Places of the oldest ready items that nobody is taking now; `$4`: how many.
macro_rules! oldest {
    () => {
        concat!(
            "ARRAY(SELECT place FROM queue_items WHERE queue_id = ",
            queue!(),
            " AND state = 0 ORDER BY place LIMIT $4 FOR UPDATE SKIP LOCKED)"
        )
    };
}

pub(super) const RECEIVE: &str = concat!(
    "DELETE FROM queue_items WHERE place = ANY(",
    oldest!(),
    ") RETURNING item_id, place, body, attempt"
);

/// `$5`: holder, `$6`: nonce, `$7`: milliseconds.
pub(super) const LEASE: &str = concat!(
    "UPDATE queue_items SET state = 1, attempt = attempt + 1, holder = $5, nonce = $6, \
     until_at = clock_timestamp() + $7::float8 * interval '1 millisecond' WHERE place = ANY(",
    oldest!(),
    ") RETURNING item_id, place, body, attempt, until_at"
);

/// The leased item; `$4`: place, `$5`: nonce.
macro_rules! leased {
    () => {
        concat!("queue_id = ", queue!(), " AND place = $4 AND state = 1 AND nonce = $5")
    };
}

/// `$4`: places, `$5`: nonces.
pub(super) const ACK: &str = concat!(
    "DELETE FROM queue_items i USING unnest($4::bigint[], $5::uuid[]) AS t(place, nonce) \
     WHERE i.place = t.place AND i.nonce = t.nonce AND i.state = 1 AND i.queue_id = ",
    queue!(),
    " RETURNING i.place"
);

pub(super) const RELEASE: &str = concat!(
    "UPDATE queue_items SET state = 0, attempt = attempt - 1, holder = NULL, nonce = NULL, until_at = NULL WHERE ",
    leased!()
);

/// `$6`: attempts that an item has, `$7`: reason, `$8`: delay in milliseconds.
pub(super) const NACK: &str = concat!(
    "UPDATE queue_items SET state = CASE WHEN attempt >= $6 THEN 3 WHEN $8::float8 > 0 THEN 2 ELSE 0 END, \
     until_at = CASE WHEN attempt >= $6 THEN clock_timestamp() \
       WHEN $8::float8 > 0 THEN clock_timestamp() + $8::float8 * interval '1 millisecond' END, \
     reason = CASE WHEN attempt >= $6 THEN $7 END, holder = NULL, nonce = NULL WHERE ",
    leased!(),
    " RETURNING state"
);

/// `$6`: milliseconds.
pub(super) const EXTEND: &str = concat!(
    "UPDATE queue_items SET until_at = clock_timestamp() + $6::float8 * interval '1 millisecond' WHERE ",
    leased!()
);

/// `$1`: project, `$2`: room, `$3`: holder, `$4`: attempts that an item has, `$5`: reason.
pub(super) const NACK_HOLDER: &str = "UPDATE queue_items i SET \
    state = CASE WHEN i.attempt >= $4 THEN 3 ELSE 0 END, \
    until_at = CASE WHEN i.attempt >= $4 THEN clock_timestamp() END, \
    reason = CASE WHEN i.attempt >= $4 THEN $5 END, holder = NULL, nonce = NULL FROM queues q \
    WHERE q.queue_id = i.queue_id AND q.project = $1 AND q.room = $2 AND i.state = 1 AND i.holder = $3 RETURNING q.name";

pub(super) const DRAIN: &str =
    concat!("DELETE FROM queue_items WHERE queue_id = ", queue!(), " AND state IN (0, 1, 2)");

pub(super) const DELETE_QUEUE: &str =
    "DELETE FROM queues WHERE project = $1 AND room = $2 AND name = $3 RETURNING queue_id";
pub(super) const DELETE_CONTENT: [&str; 3] = [
    "DELETE FROM queue_items WHERE queue_id = $1 AND state = 0",
    "DELETE FROM queue_items WHERE queue_id = $1 AND state > 0",
    "DELETE FROM queue_seen WHERE queue_id = $1",
];

/// `$4`: place to begin after, `$5`: how many.
pub(super) const DEAD_LETTERS: &str = concat!(
    "SELECT place, item_id, body, attempt, coalesce(reason, ''), until_at FROM queue_items WHERE queue_id = ",
    queue!(),
    " AND state = 3 AND place > $4 ORDER BY place LIMIT $5"
);

/// `$4`: ids; none means all.
macro_rules! chosen_dead {
    () => {
        concat!(
            "queue_id = ",
            queue!(),
            " AND state = 3 AND (cardinality($4::uuid[]) = 0 OR item_id = ANY($4))"
        )
    };
}

pub(super) const REPLAY_DEAD: &str = concat!(
    "UPDATE queue_items SET state = 0, attempt = 0, until_at = NULL, reason = NULL WHERE ",
    chosen_dead!()
);
pub(super) const DELETE_DEAD: &str = concat!("DELETE FROM queue_items WHERE ", chosen_dead!());

/// `$1`: attempts that an item has, `$2`: how many at most.
pub(super) const EXPIRE: &str = "WITH due AS (UPDATE queue_items SET \
      state = CASE WHEN state = 1 AND attempt >= $1 THEN 3 ELSE 0 END, \
      until_at = CASE WHEN state = 1 AND attempt >= $1 THEN clock_timestamp() END, \
      reason = CASE WHEN state = 1 AND attempt >= $1 \
        THEN format('the lease of `%s` ran out without an answer (attempt %s)', holder, attempt) END, \
      holder = NULL, nonce = NULL \
      WHERE place = ANY(ARRAY(SELECT place FROM queue_items WHERE state IN (1, 2) AND until_at <= clock_timestamp() \
        ORDER BY until_at LIMIT $2 FOR UPDATE SKIP LOCKED)) RETURNING queue_id) \
    SELECT q.project, q.room, q.name, count(*) FROM due JOIN queues q USING (queue_id) GROUP BY q.queue_id";

/// Milliseconds until the next lease or delay ends.
pub(super) const NEXT_END: &str = "SELECT (extract(epoch FROM min(until_at) - clock_timestamp()) * 1000)::bigint \
    FROM queue_items WHERE state IN (1, 2)";

pub(super) fn attempt(row: &Row, index: usize) -> u32 {
    u32::try_from(row.get::<_, i32>(index)).unwrap_or(0)
}

pub(super) fn count(row: &Row, index: usize) -> u64 {
    row.get::<_, i64>(index).unsigned_abs()
}

pub(super) fn item(row: &Row) -> QueueItem {
    QueueItem { id: ItemId(row.get(0)), place: row.get(1), body: row.get(2), attempt: attempt(row, 3) }
}

pub(super) fn leased(row: &Row, nonce: Uuid) -> LeasedItem {
    let QueueItem { id, place, body, attempt } = item(row);
    LeasedItem { id, body, attempt, token: LeaseToken { place, nonce }, until: row.get(4) }
}

pub(super) fn dead(row: &Row) -> (i64, DeadItem) {
    let id = ItemId(row.get(1));
    let item =
        DeadItem { id, body: row.get(2), attempt: attempt(row, 3), reason: row.get(4), dead_at: row.get(5) };
    (row.get(0), item)
}
