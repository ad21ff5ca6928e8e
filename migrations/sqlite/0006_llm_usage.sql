-- What models were used for whom, summed by hour. Rows are only added to, and forgotten after a time.
CREATE TABLE llm_usage (
    project            TEXT    NOT NULL,
    hour_ms            INTEGER NOT NULL,
    provider           TEXT    NOT NULL,
    model              TEXT    NOT NULL,
    room               TEXT    NOT NULL,
    participant        TEXT    NOT NULL,
    delegation         TEXT    NOT NULL,
    annotations        TEXT    NOT NULL,
    requests           INTEGER NOT NULL,
    estimated          INTEGER NOT NULL,
    input_tokens       INTEGER NOT NULL,
    cached_tokens      INTEGER NOT NULL,
    cache_write_tokens INTEGER NOT NULL,
    output_tokens      INTEGER NOT NULL,
    reasoning_tokens   INTEGER NOT NULL,
    cost_nanos         INTEGER NOT NULL,
    PRIMARY KEY (project, hour_ms, provider, model, room, participant, delegation, annotations)
) STRICT, WITHOUT ROWID;
