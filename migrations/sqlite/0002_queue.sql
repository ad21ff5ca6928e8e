-- Durable queues. High-rate data: not events, but in the same database.
CREATE TABLE queues (
    queue_id   INTEGER PRIMARY KEY,
    project    BLOB    NOT NULL,
    room       BLOB    NOT NULL,
    name       TEXT    NOT NULL,
    -- Counts of queue_items by state; kept here because a full queue would be slow to count.
    ready      INTEGER NOT NULL DEFAULT 0 CHECK (ready >= 0),
    leased     INTEGER NOT NULL DEFAULT 0 CHECK (leased >= 0),
    dead       INTEGER NOT NULL DEFAULT 0 CHECK (dead >= 0),
    created_at INTEGER NOT NULL,
    UNIQUE (room, name, project)
) STRICT;

CREATE TABLE queue_items (
    place    INTEGER PRIMARY KEY,
    queue_id INTEGER NOT NULL,
    -- 0 ready, 1 leased, 2 delayed, 3 dead
    state    INTEGER NOT NULL,
    attempt  INTEGER NOT NULL,
    -- End of the lease or of the delay, or the time of death; milliseconds since 1970.
    until_ms INTEGER,
    item_id  BLOB    NOT NULL,
    nonce    BLOB,
    holder   TEXT,
    reason   TEXT,
    body     TEXT    NOT NULL
) STRICT;
CREATE INDEX queue_items_by_state ON queue_items (queue_id, state, place);
CREATE INDEX queue_items_by_end ON queue_items (until_ms) WHERE until_ms IS NOT NULL AND state < 3;

-- Ids that senders chose, so that a repeated send is one item.
CREATE TABLE queue_seen (
    queue_id INTEGER NOT NULL,
    item_id  BLOB    NOT NULL,
    seen_at  INTEGER NOT NULL,
    PRIMARY KEY (queue_id, item_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX queue_seen_by_age ON queue_seen (seen_at);
