-- What models were used for whom, summed by hour. Rows are only added to, and forgotten after a time.
CREATE TABLE llm_usage (
    project            text   COLLATE "C" NOT NULL,
    hour_ms            bigint NOT NULL,
    provider           text   COLLATE "C" NOT NULL,
    model              text   COLLATE "C" NOT NULL,
    room               text   COLLATE "C" NOT NULL,
    participant        text   COLLATE "C" NOT NULL,
    delegation         text   COLLATE "C" NOT NULL,
    annotations        text   COLLATE "C" NOT NULL,
    requests           bigint NOT NULL,
    estimated          bigint NOT NULL,
    input_tokens       bigint NOT NULL,
    cached_tokens      bigint NOT NULL,
    cache_write_tokens bigint NOT NULL,
    output_tokens      bigint NOT NULL,
    reasoning_tokens   bigint NOT NULL,
    cost_nanos         bigint NOT NULL,
    PRIMARY KEY (project, hour_ms, provider, model, room, participant, delegation, annotations)
);
