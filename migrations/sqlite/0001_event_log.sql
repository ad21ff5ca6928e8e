-- The event log. `position` is the global order and has no gaps; `recorded_at` is in microseconds since 1970 UTC;
-- `checksum` is the CRC-32 of all other fields.
CREATE TABLE events (
  position       INTEGER PRIMARY KEY,
  event_id       BLOB    NOT NULL UNIQUE,
  stream         TEXT    NOT NULL,
  version        INTEGER NOT NULL,
  type           TEXT    NOT NULL,
  schema_version INTEGER NOT NULL,
  data           TEXT    NOT NULL,
  metadata       TEXT    NOT NULL,
  recorded_at    INTEGER NOT NULL,
  checksum       INTEGER NOT NULL,
  UNIQUE (stream, version)
) STRICT;

CREATE TRIGGER events_are_never_changed BEFORE UPDATE ON events
BEGIN SELECT RAISE(ABORT, 'events are never changed'); END;

CREATE TRIGGER events_are_never_deleted BEFORE DELETE ON events
BEGIN SELECT RAISE(ABORT, 'events are never deleted'); END;

-- Disposable: the log is complete without them.
CREATE TABLE snapshots (
  name     TEXT    PRIMARY KEY,
  position INTEGER NOT NULL,
  format   INTEGER NOT NULL,
  data     BLOB    NOT NULL,
  checksum INTEGER NOT NULL
) STRICT;
