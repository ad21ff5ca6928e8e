-- Mail that goes out. High-rate data: not events of the log, but in the same database.
CREATE TABLE mail_submissions (
    submission_id UUID   PRIMARY KEY,
    project       UUID   NOT NULL,
    mailbox       UUID   NOT NULL,
    sender        TEXT    NOT NULL,
    message_id    TEXT    NOT NULL,
    submitted_at  BIGINT  NOT NULL,
    -- Gone once no delivery needs it any more.
    message       BYTEA
);

CREATE TABLE mail_deliveries (
    delivery_id   UUID   PRIMARY KEY,
    submission_id UUID   NOT NULL,
    project       UUID   NOT NULL,
    mailbox       UUID   NOT NULL,
    recipient     TEXT    NOT NULL,
    -- accepted, deferred, delivered, failed
    status        TEXT    NOT NULL,
    status_at     BIGINT  NOT NULL,
    attempts      BIGINT  NOT NULL,
    -- When it is tried next, or when the claim on it is over; nothing once it was delivered or failed.
    due_ms        BIGINT ,
    nonce         UUID,
    holder        TEXT,
    -- The last report, JSON.
    report        TEXT    NOT NULL
);
CREATE INDEX mail_deliveries_by_due ON mail_deliveries (due_ms) WHERE due_ms IS NOT NULL;
CREATE INDEX mail_deliveries_by_mailbox ON mail_deliveries (project, mailbox, delivery_id);
CREATE INDEX mail_deliveries_by_submission ON mail_deliveries (submission_id);
CREATE INDEX mail_deliveries_by_end ON mail_deliveries (status_at) WHERE due_ms IS NULL;

CREATE TABLE mail_delivery_events (
    event_id    UUID   PRIMARY KEY,
    delivery_id UUID   NOT NULL,
    -- accepted, temporary_failed, delivered, permanent_failed
    event_type  TEXT    NOT NULL,
    occurred_at BIGINT  NOT NULL,
    attempt     BIGINT  NOT NULL,
    report      TEXT    NOT NULL
);
CREATE INDEX mail_delivery_events_by_delivery ON mail_delivery_events (delivery_id, event_id);
