-- The event log. `position` is the global order and has no gaps; `checksum` is the CRC-32 of all other fields.
-- `json` (not `jsonb`) keeps the text byte for byte.
CREATE TABLE events (
  position       bigint      PRIMARY KEY,
  event_id       uuid        NOT NULL UNIQUE,
  stream         text        NOT NULL COLLATE "C",
  version        bigint      NOT NULL,
  type           text        NOT NULL COLLATE "C",
  schema_version integer     NOT NULL,
  data           json        NOT NULL,
  metadata       json        NOT NULL,
  recorded_at    timestamptz NOT NULL,
  checksum       bigint      NOT NULL,
  UNIQUE (stream, version)
);

CREATE FUNCTION events_are_facts() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION 'events are never changed and never deleted'; END $$;

CREATE TRIGGER events_are_facts BEFORE UPDATE OR DELETE OR TRUNCATE ON events
FOR EACH STATEMENT EXECUTE FUNCTION events_are_facts();

-- Disposable: the log is complete without them.
CREATE TABLE snapshots (
  name     text    PRIMARY KEY,
  position bigint  NOT NULL,
  format   bigint  NOT NULL,
  data     bytea   NOT NULL,
  checksum bigint  NOT NULL
);
