-- Durable queues. High-rate data: not events, but in the same database.
CREATE TABLE queues (
    queue_id   bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project    uuid        NOT NULL,
    room       uuid        NOT NULL,
    name       text        COLLATE "C" NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (room, name, project)
);

CREATE SEQUENCE queue_places AS bigint;
CREATE TABLE queue_items (
    place    bigint      PRIMARY KEY DEFAULT nextval('queue_places'),
    -- No foreign key: senders lock the queue's row, and its deletion removes its items.
    queue_id bigint      NOT NULL,
    -- 0 ready, 1 leased, 2 delayed, 3 dead
    state    smallint    NOT NULL DEFAULT 0,
    attempt  integer     NOT NULL DEFAULT 0,
    -- End of the lease or of the delay, or the time of death.
    until_at timestamptz,
    item_id  uuid        NOT NULL,
    nonce    uuid,
    holder   text,
    reason   text,
    body     text        NOT NULL
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX queue_items_ready ON queue_items (queue_id, place) WHERE state = 0;
CREATE INDEX queue_items_taken ON queue_items (queue_id, state, place) WHERE state > 0;
CREATE INDEX queue_items_by_end ON queue_items (until_at) WHERE state IN (1, 2);

-- Ids that senders chose, so that a repeated send is one item.
CREATE TABLE queue_seen (
    queue_id bigint      NOT NULL,
    item_id  uuid        NOT NULL,
    seen_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (queue_id, item_id)
);
CREATE INDEX queue_seen_by_age ON queue_seen (seen_at);
