-- What the API answers in milliseconds: counts of the log and its security-relevant events, both
-- kept in the transaction that records; and requests that may be sent again.

-- Records of the log by company, hour of the event, type and partition; by partition, so that no
-- two sinks wait for one row.
CREATE TABLE event_counts (
    company_id text,
    hour       timestamptz NOT NULL,
    type       text        NOT NULL,
    topic_id   uuid        NOT NULL,
    partition  integer     NOT NULL,
    events     bigint      NOT NULL,
    first_at   timestamptz NOT NULL,
    last_at    timestamptz NOT NULL,
    CONSTRAINT event_counts_key
        UNIQUE NULLS NOT DISTINCT (company_id, hour, type, topic_id, partition)
) WITH (fillfactor = 70);
CREATE INDEX event_counts_hour ON event_counts (hour);

-- Events that an auditor of access wants to see: who logged in, whose role changed, and so on.
CREATE TABLE security_events (
    topic_id    uuid        NOT NULL,
    partition   integer     NOT NULL,
    "offset"    bigint      NOT NULL,
    appended_at timestamptz NOT NULL,
    id          uuid        NOT NULL,
    type        text        NOT NULL,
    company_id  text,
    user_id     text,
    "timestamp" timestamptz NOT NULL,
    PRIMARY KEY (topic_id, partition, "offset", appended_at)
);
CREATE INDEX security_events_company ON security_events (company_id, "timestamp");
CREATE INDEX security_events_timestamp ON security_events ("timestamp");
CREATE INDEX security_audit_company ON security_audit (company_id, at);
CREATE INDEX event_quarantine_appended ON event_quarantine (appended_at);

-- The types that are security-relevant: patterns of LIKE, from the session (audit.security_types)
-- or, for a program that does not know of them, the same as that setting's default.
CREATE FUNCTION security_types() RETURNS text[] LANGUAGE sql STABLE AS $$
    SELECT string_to_array(
        coalesce(
            nullif(current_setting('sluice.security_types', true), ''),
            'user.%,marketplace.%,system.subscription\_disabled'),
        ',')
$$;

-- Once a statement and not once a row: a batch is one COPY. In the database, so that each program
-- that writes the log is counted, also the release before this one during an upgrade.
CREATE FUNCTION event_log_recorded() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO event_counts AS c
        (company_id, hour, type, topic_id, partition, events, first_at, last_at)
    SELECT company_id, date_trunc('hour', "timestamp", 'UTC'), type, topic_id, partition,
           count(*), min("timestamp"), max("timestamp")
    FROM recorded
    GROUP BY 1, 2, 3, 4, 5
    ORDER BY 1, 2, 3, 4, 5
    ON CONFLICT ON CONSTRAINT event_counts_key DO UPDATE SET
        events = c.events + excluded.events,
        first_at = least(c.first_at, excluded.first_at),
        last_at = greatest(c.last_at, excluded.last_at);
    INSERT INTO security_events
        (topic_id, partition, "offset", appended_at, id, type, company_id, user_id, "timestamp")
    SELECT topic_id, partition, "offset", appended_at, id, type, company_id, user_id, "timestamp"
    FROM recorded
    WHERE type LIKE ANY (security_types());
    RETURN NULL;
END
$$;

-- What is there, and from the same instant on what comes: nobody writes the log meanwhile.
LOCK TABLE event_log IN SHARE ROW EXCLUSIVE MODE;
INSERT INTO event_counts
SELECT company_id, date_trunc('hour', "timestamp", 'UTC'), type, topic_id, partition,
       count(*), min("timestamp"), max("timestamp")
FROM event_log
GROUP BY 1, 2, 3, 4, 5;
INSERT INTO security_events
SELECT topic_id, partition, "offset", appended_at, id, type, company_id, user_id, "timestamp"
FROM event_log
WHERE type LIKE ANY (security_types());
CREATE TRIGGER event_log_recorded AFTER INSERT ON event_log
    REFERENCING NEW TABLE AS recorded FOR EACH STATEMENT EXECUTE FUNCTION event_log_recorded();

-- The most active users of a company, and its events of a type, without a visit to each row.
DROP INDEX event_log_company;
CREATE INDEX event_log_company ON event_log (company_id, "timestamp", id) INCLUDE (type, user_id);

-- The answer to a request that may be sent again with the same Idempotency-Key.
CREATE TABLE idempotent_requests (
    caller     text        NOT NULL,
    key        text        NOT NULL,
    company_id text,
    body_hash  bytea       NOT NULL,
    first_at   timestamptz NOT NULL,
    claimed_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    response   bytea,
    PRIMARY KEY (caller, key)
);
CREATE INDEX idempotent_requests_expires ON idempotent_requests (expires_at);

GRANT SELECT ON event_counts, security_events, security_audit TO sluice_reader;
ALTER TABLE event_counts ENABLE ROW LEVEL SECURITY;
ALTER TABLE security_events ENABLE ROW LEVEL SECURITY;
ALTER TABLE security_audit ENABLE ROW LEVEL SECURITY;

-- Counts name no user; a member does not see how many of the user events are others'.
CREATE POLICY event_counts_reader ON event_counts FOR SELECT TO sluice_reader USING (
    current_setting('sluice.view', true) = 'platform'
    OR (
        company_id = current_setting('sluice.company', true)
        AND (
            current_setting('sluice.view', true) = 'company'
            OR (current_setting('sluice.view', true) = 'member' AND NOT starts_with(type, 'user.'))
        )
    )
);
CREATE POLICY security_events_reader ON security_events FOR SELECT TO sluice_reader USING (
    current_setting('sluice.view', true) = 'platform'
    OR (
        company_id = current_setting('sluice.company', true)
        AND current_setting('sluice.view', true) = 'company'
    )
);
CREATE POLICY security_audit_reader ON security_audit FOR SELECT TO sluice_reader USING (
    current_setting('sluice.view', true) = 'platform'
    OR (
        company_id = current_setting('sluice.company', true)
        AND current_setting('sluice.view', true) = 'company'
    )
);
