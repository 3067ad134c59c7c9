-- Live push: what all instances must share. And faster reads of the history and its counts.

-- One random secret, made by whoever is first: a cursor that one instance signs is another's, too,
-- and outlives a restart.
CREATE TABLE live_secret (
    one    boolean PRIMARY KEY DEFAULT true CHECK (one),
    secret bytea   NOT NULL CHECK (length(secret) = 32)
);

-- Tickets for /ws, each taken once, by whichever instance the browser meets.
CREATE TABLE live_tickets (
    hash              bytea       PRIMARY KEY,
    company_id        text        NOT NULL,
    user_id           text,
    member            boolean     NOT NULL,
    key_prefix        text,
    caller_expires_at timestamptz,
    expires_at        timestamptz NOT NULL
);
CREATE INDEX live_tickets_company ON live_tickets (company_id, expires_at);
COMMENT ON COLUMN live_tickets.hash IS 'SHA-256 of the ticket, which has 256 random bits.';
COMMENT ON COLUMN live_tickets.member IS 'Whether the caller does not see others'' user.* events.';
COMMENT ON COLUMN live_tickets.key_prefix IS 'The API key that asked for it; null where a token did.';

-- Reads that ask for each setting once a statement, not once a row: a subquery that depends on no
-- row is evaluated once.
ALTER POLICY event_log_reader ON event_log USING (
    (SELECT current_setting('sluice.view', true)) = 'platform'
    OR (
        company_id = (SELECT current_setting('sluice.company', true))
        AND (
            (SELECT current_setting('sluice.view', true)) = 'company'
            OR (
                (SELECT current_setting('sluice.view', true)) = 'member'
                AND (
                    NOT starts_with(type, 'user.')
                    OR user_id = (SELECT current_setting('sluice.user', true))
                )
            )
        )
    )
);
ALTER POLICY event_counts_reader ON event_counts USING (
    (SELECT current_setting('sluice.view', true)) = 'platform'
    OR (
        company_id = (SELECT current_setting('sluice.company', true))
        AND (
            (SELECT current_setting('sluice.view', true)) = 'company'
            OR (
                (SELECT current_setting('sluice.view', true)) = 'member'
                AND NOT starts_with(type, 'user.')
            )
        )
    )
);
ALTER POLICY security_events_reader ON security_events USING (
    (SELECT current_setting('sluice.view', true)) = 'platform'
    OR (
        company_id = (SELECT current_setting('sluice.company', true))
        AND (SELECT current_setting('sluice.view', true)) = 'company'
    )
);
ALTER POLICY security_audit_reader ON security_audit USING (
    (SELECT current_setting('sluice.view', true)) = 'platform'
    OR (
        company_id = (SELECT current_setting('sluice.company', true))
        AND (SELECT current_setting('sluice.view', true)) = 'company'
    )
);

-- A company's year is tens of thousands of counts: read from the index alone.
ALTER TABLE event_counts
    DROP CONSTRAINT event_counts_key,
    ADD CONSTRAINT event_counts_key
        UNIQUE NULLS NOT DISTINCT (company_id, hour, type, topic_id, partition)
        INCLUDE (events, first_at, last_at);

-- Of a company's events those of a type or a user, from one index alone: the planner takes the type's
-- or the company's, whichever is shorter.
DROP INDEX event_log_type;
DROP INDEX event_log_user;
CREATE INDEX event_log_type ON event_log (type, "timestamp", id) INCLUDE (company_id, user_id);
CREATE INDEX event_log_user ON event_log (user_id, "timestamp", id) INCLUDE (company_id, type);
