-- The audit log and what the fenced sink needs. See docs/semantics.md for what each column proves.

CREATE TABLE event_log (
    topic_id           uuid        NOT NULL,
    partition          integer     NOT NULL,
    "offset"           bigint      NOT NULL,
    appended_at        timestamptz NOT NULL,
    topic              text        NOT NULL,
    id                 uuid        NOT NULL,
    type               text        NOT NULL,
    user_id            text,
    company_id         text,
    "timestamp"        timestamptz NOT NULL,
    data               jsonb       NOT NULL,
    metadata           jsonb       NOT NULL,
    key                bytea,
    headers            bytea       NOT NULL,
    schema_id          integer     NOT NULL,
    schema_fingerprint bytea       NOT NULL,
    raw                bytea       NOT NULL,
    record_hash        bytea       NOT NULL,
    recorded_at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (topic_id, partition, "offset", appended_at)
) PARTITION BY RANGE (appended_at);

CREATE INDEX event_log_company ON event_log (company_id, "timestamp", id);
CREATE INDEX event_log_type    ON event_log (type, "timestamp");
CREATE INDEX event_log_user    ON event_log (user_id, "timestamp");
CREATE INDEX event_log_id      ON event_log (id);

COMMENT ON TABLE  event_log IS 'One row a Kafka record, by (topic_id, partition, offset).';
COMMENT ON COLUMN event_log.appended_at IS 'Kafka''s append time of the record; immutable.';
COMMENT ON COLUMN event_log.headers IS 'Names and values in order: i32 length and bytes of each, -1 for a null value, big-endian.';
COMMENT ON COLUMN event_log.raw IS 'The whole Kafka value, framing included.';
COMMENT ON COLUMN event_log.record_hash IS 'SHA-256 over length-prefixed key, value, headers, and the append time in milliseconds.';

-- Raw bytes outlive the registry: the writer's schema, by SHA-256 of its text.
CREATE TABLE event_schemas (
    fingerprint bytea PRIMARY KEY,
    text        text        NOT NULL,
    first_seen  timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- A record that cannot be read, or (class conflict) that differs from what its position held.
CREATE TABLE event_quarantine (
    topic_id    uuid        NOT NULL,
    partition   integer     NOT NULL,
    "offset"    bigint      NOT NULL,
    appended_at timestamptz NOT NULL,
    topic       text        NOT NULL,
    class       text        NOT NULL,
    reason      text        NOT NULL,
    key         bytea,
    headers     bytea       NOT NULL,
    raw         bytea,
    schema_id   bigint,
    record_hash bytea       NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (topic_id, partition, "offset", record_hash)
);
CREATE INDEX event_quarantine_class ON event_quarantine (class, appended_at);

-- How far a group has come in a partition, and which claim (epoch) may move it on.
CREATE TABLE consumer_progress (
    "group"     text        NOT NULL,
    topic       text        NOT NULL,
    topic_id    uuid        NOT NULL,
    partition   integer     NOT NULL,
    epoch       bigint      NOT NULL,
    next_offset bigint      NOT NULL,
    high_offset bigint      NOT NULL,
    updated_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY ("group", topic, topic_id, partition),
    CONSTRAINT consumer_progress_high CHECK (high_offset >= next_offset)
) WITH (fillfactor = 50);

-- Where a group began; written for every existing partition by its first member.
CREATE TABLE group_starts (
    "group"      text        NOT NULL,
    topic        text        NOT NULL,
    topic_id     uuid        NOT NULL,
    partition    integer     NOT NULL,
    start_offset bigint      NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY ("group", topic_id, partition)
);

-- Every change of a group's position that an operator made, with what became of it.
CREATE TABLE replays (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    "group"     text        NOT NULL,
    topic       text        NOT NULL,
    topic_id    uuid        NOT NULL,
    partition   integer     NOT NULL,
    kind        text        NOT NULL CHECK (kind IN ('rewind', 'skip', 'skip_refused')),
    from_offset bigint      NOT NULL,
    to_offset   bigint      NOT NULL,
    metadata    text        NOT NULL,
    found_at    timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- Ranges that an operator made a group skip; a later rewind processes exactly these.
CREATE TABLE operator_skips (
    "group"     text    NOT NULL,
    topic_id    uuid    NOT NULL,
    partition   integer NOT NULL,
    from_offset bigint  NOT NULL,
    to_offset   bigint  NOT NULL CHECK (to_offset > from_offset),
    replay_id   bigint  REFERENCES replays (id),
    PRIMARY KEY ("group", topic_id, partition, from_offset)
);

-- Ranges that Kafka lost before they were read, as a person acknowledged them.
CREATE TABLE lost_ranges (
    "group"         text        NOT NULL,
    topic           text        NOT NULL,
    topic_id        uuid        NOT NULL,
    partition       integer     NOT NULL,
    from_offset     bigint      NOT NULL,
    to_offset       bigint      NOT NULL CHECK (to_offset > from_offset),
    acknowledged_by text        NOT NULL,
    acknowledged_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY ("group", topic_id, partition, from_offset)
);
