-- Secrets, sealed by the vault: a wrapped data key and a value, never plain text.
CREATE TABLE secrets (
    secret_id   text     COLLATE "C" PRIMARY KEY,
    layout      smallint NOT NULL,
    wrapped_key bytea    NOT NULL,
    value       bytea    NOT NULL
);
