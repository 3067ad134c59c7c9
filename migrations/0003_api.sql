-- Who may call the API, what was done with it, and whose events a caller sees.

CREATE TABLE api_keys (
    id           uuid        PRIMARY KEY,
    prefix       text        NOT NULL UNIQUE,
    hash         bytea       NOT NULL,
    name         text        NOT NULL,
    company_id   text,
    scopes       text[]      NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at   timestamptz,
    revoked_at   timestamptz,
    last_used_at timestamptz
);
COMMENT ON COLUMN api_keys.prefix IS 'The part of the key by which a person recognises it.';
COMMENT ON COLUMN api_keys.hash IS 'SHA-256 of the whole key, which has 256 random bits.';
COMMENT ON COLUMN api_keys.company_id IS 'Null for a key of the platform.';

-- Failed log-ins and every administrative act.
CREATE TABLE security_audit (
    id         bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at         timestamptz NOT NULL DEFAULT clock_timestamp(),
    actor      text        NOT NULL,
    company_id text,
    action     text        NOT NULL,
    target     text,
    address    text,
    result     text        NOT NULL CHECK (result IN ('done', 'refused', 'failed')),
    detail     text
);
CREATE INDEX security_audit_at ON security_audit (at);

-- The role that the API reads with: it owns nothing, has no grant on the log's partitions, and
-- sees the rows of the company that the transaction names. The login of the pipeline owns the
-- tables and is not bound by this (COPY into a table with row-level security in force for the
-- role is refused by Postgres).
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'sluice_reader') THEN
        BEGIN
            CREATE ROLE sluice_reader NOLOGIN;
        EXCEPTION WHEN duplicate_object OR unique_violation THEN
            NULL; -- another database of the cluster was quicker
        END;
    END IF;
    IF NOT pg_has_role(current_user, 'sluice_reader', 'SET') THEN
        EXECUTE format('GRANT sluice_reader TO %I WITH SET TRUE, INHERIT FALSE', current_user);
    END IF;
END
$$;

GRANT SELECT ON event_log TO sluice_reader;
ALTER TABLE event_log ENABLE ROW LEVEL SECURITY;

-- sluice.view: 'platform' sees all, 'company' all of its company's, 'member' the same without
-- others' user events.
CREATE POLICY event_log_reader ON event_log FOR SELECT TO sluice_reader USING (
    current_setting('sluice.view', true) = 'platform'
    OR (
        company_id = current_setting('sluice.company', true)
        AND (
            current_setting('sluice.view', true) = 'company'
            OR (
                current_setting('sluice.view', true) = 'member'
                AND (NOT starts_with(type, 'user.') OR user_id = current_setting('sluice.user', true))
            )
        )
    )
);
