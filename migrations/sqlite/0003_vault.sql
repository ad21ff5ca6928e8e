-- Secrets, sealed by the vault: a wrapped data key and a value, never plain text.
CREATE TABLE secrets (
    secret_id   TEXT    PRIMARY KEY,
    layout      INTEGER NOT NULL,
    wrapped_key BLOB    NOT NULL,
    value       BLOB    NOT NULL
) STRICT, WITHOUT ROWID;
