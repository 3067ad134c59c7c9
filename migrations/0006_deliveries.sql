-- Deliveries of the groups whose effect lies outside: for each record and target, in each run, one
-- row, which decides what a record of the domain, retry or dead-letter topic means.

CREATE TABLE deliveries (
    "group"         text        NOT NULL,
    topic_id        uuid        NOT NULL,
    partition       integer     NOT NULL,
    "offset"        bigint      NOT NULL,
    target          text        NOT NULL,
    run             bigint      NOT NULL,
    topic           text        NOT NULL,
    appended_at     timestamptz NOT NULL,
    event_id        uuid        NOT NULL,
    type            text        NOT NULL,
    company_id      text,
    status          text        NOT NULL CHECK (status IN ('pending', 'delivered', 'retrying', 'dead')),
    attempts        integer     NOT NULL DEFAULT 0,
    hop             integer     NOT NULL,
    lease_id        uuid,
    lease_until     timestamptz,
    class           text,
    failure         text,
    first_failed_at timestamptz,
    next_attempt_at timestamptz,
    created_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY ("group", topic_id, partition, "offset", target, run)
) WITH (fillfactor = 80);

-- No index names a column that each attempt changes, but for what waits or failed.
CREATE INDEX deliveries_target  ON deliveries ("group", target, created_at);
CREATE INDEX deliveries_company ON deliveries (company_id, "group", created_at);
CREATE INDEX deliveries_open    ON deliveries ("group", status, updated_at)
    WHERE status IN ('retrying', 'dead');

COMMENT ON COLUMN deliveries.topic IS 'The record''s own topic, as are topic_id, partition, offset and appended_at.';
COMMENT ON COLUMN deliveries.run IS '0 live, else the id in replays.';
COMMENT ON COLUMN deliveries.hop IS '0 for the domain''s record, one more for each retry, divert, dead letter or redrive.';
COMMENT ON COLUMN deliveries.lease_id IS 'The attempt that took it last; nobody else may until lease_until.';

-- Every attempt, and what came of it.
CREATE TABLE delivery_attempts (
    "group"      text        NOT NULL,
    topic_id     uuid        NOT NULL,
    partition    integer     NOT NULL,
    "offset"     bigint      NOT NULL,
    target       text        NOT NULL,
    run          bigint      NOT NULL,
    lease_id     uuid        NOT NULL,
    attempt      integer     NOT NULL,
    started_at   timestamptz NOT NULL,
    company_id   text,
    took_micros  bigint      NOT NULL,
    outcome      text        NOT NULL CHECK (outcome IN ('done', 'retry', 'dead', 'divert')),
    class        text,
    failure      text,
    detail       json,
    PRIMARY KEY ("group", topic_id, partition, "offset", target, run, lease_id)
);
COMMENT ON COLUMN delivery_attempts.detail IS 'What the handler says of it, such as the status and the answer.';

-- People of a company see theirs; a member has no part in them.
GRANT SELECT ON deliveries, delivery_attempts TO sluice_reader;
ALTER TABLE deliveries ENABLE ROW LEVEL SECURITY;
ALTER TABLE delivery_attempts ENABLE ROW LEVEL SECURITY;
CREATE POLICY deliveries_reader ON deliveries FOR SELECT TO sluice_reader USING (
    current_setting('sluice.view', true) = 'platform'
    OR (current_setting('sluice.view', true) = 'company'
        AND company_id = current_setting('sluice.company', true))
);
CREATE POLICY delivery_attempts_reader ON delivery_attempts FOR SELECT TO sluice_reader USING (
    current_setting('sluice.view', true) = 'platform'
    OR (current_setting('sluice.view', true) = 'company'
        AND company_id = current_setting('sluice.company', true))
);
