-- Mail that goes out. High-rate data: not events of the log, but in the same database.
CREATE TABLE mail_submissions (
    submission_id BLOB    PRIMARY KEY,
    project       BLOB    NOT NULL,
    mailbox       BLOB    NOT NULL,
    sender        TEXT    NOT NULL,
    message_id    TEXT    NOT NULL,
    submitted_at  INTEGER NOT NULL,
    -- Gone once no delivery needs it any more.
    message       BLOB
) STRICT, WITHOUT ROWID;

CREATE TABLE mail_deliveries (
    delivery_id   BLOB    PRIMARY KEY,
    submission_id BLOB    NOT NULL,
    project       BLOB    NOT NULL,
    mailbox       BLOB    NOT NULL,
    recipient     TEXT    NOT NULL,
    -- accepted, deferred, delivered, failed
    status        TEXT    NOT NULL,
    status_at     INTEGER NOT NULL,
    attempts      INTEGER NOT NULL,
    -- When it is tried next, or when the claim on it is over; nothing once it was delivered or failed.
    due_ms        INTEGER,
    nonce         BLOB,
    holder        TEXT,
    -- The last report, JSON.
    report        TEXT    NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX mail_deliveries_by_due ON mail_deliveries (due_ms) WHERE due_ms IS NOT NULL;
CREATE INDEX mail_deliveries_by_mailbox ON mail_deliveries (project, mailbox, delivery_id);
CREATE INDEX mail_deliveries_by_submission ON mail_deliveries (submission_id);
CREATE INDEX mail_deliveries_by_end ON mail_deliveries (status_at) WHERE due_ms IS NULL;

CREATE TABLE mail_delivery_events (
    event_id    BLOB    PRIMARY KEY,
    delivery_id BLOB    NOT NULL,
    -- accepted, temporary_failed, delivered, permanent_failed
    event_type  TEXT    NOT NULL,
    occurred_at INTEGER NOT NULL,
    attempt     INTEGER NOT NULL,
    report      TEXT    NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX mail_delivery_events_by_delivery ON mail_delivery_events (delivery_id, event_id);
