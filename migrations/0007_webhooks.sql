-- Webhooks: who wants which events where, signed with what; how each endpoint fares; and deliveries
-- that a person has sent again.

CREATE TABLE webhook_subscriptions (
    id              uuid        PRIMARY KEY,
    company_id      text        NOT NULL CHECK (octet_length(company_id) <= 512),
    url             text        NOT NULL CHECK (octet_length(url) <= 2048),
    event_types     text[]      NOT NULL CHECK (cardinality(event_types) BETWEEN 1 AND 100),
    conditions      json        NOT NULL DEFAULT '[]',
    description     text        CHECK (octet_length(description) <= 2048),
    headers         json        NOT NULL DEFAULT '{}',
    rate_limit      integer     CHECK (rate_limit BETWEEN 1 AND 10000),
    active          boolean     NOT NULL DEFAULT true,
    disabled_reason text        CHECK (disabled_reason IN ('asked', 'gone', 'failing')),
    disabled_at     timestamptz,
    announced_at    timestamptz,
    matches_from    timestamptz NOT NULL DEFAULT clock_timestamp(),
    created_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    CHECK (active = (disabled_at IS NULL) AND active = (disabled_reason IS NULL))
);
CREATE INDEX webhook_subscriptions_company ON webhook_subscriptions (company_id, created_at, id);
CREATE INDEX webhook_subscriptions_unannounced ON webhook_subscriptions (disabled_at)
    WHERE disabled_reason IN ('gone', 'failing') AND announced_at IS NULL;

COMMENT ON COLUMN webhook_subscriptions.conditions IS 'What an event''s data must hold: [{field, op, value}].';
COMMENT ON COLUMN webhook_subscriptions.headers IS 'Extra headers of each request, by name.';
COMMENT ON COLUMN webhook_subscriptions.rate_limit IS 'Attempts a second of one process; null: no limit.';
COMMENT ON COLUMN webhook_subscriptions.disabled_reason IS 'asked: by a person; gone: the endpoint answered 410; failing: for too long.';
COMMENT ON COLUMN webhook_subscriptions.announced_at IS 'When Kafka had the system.subscription_disabled of it.';
COMMENT ON COLUMN webhook_subscriptions.matches_from IS 'Only records appended from then on: when it was made, made active, or its types or conditions changed last.';

-- The newest signs; those before it sign too until they expire.
CREATE TABLE webhook_secrets (
    subscription_id uuid        NOT NULL REFERENCES webhook_subscriptions ON DELETE CASCADE,
    number          integer     NOT NULL,
    key_id          text        NOT NULL,
    sealed          bytea       NOT NULL,
    created_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at      timestamptz,
    PRIMARY KEY (subscription_id, number)
);
COMMENT ON COLUMN webhook_secrets.key_id IS 'Which key of webhooks.encryption_keys opens it.';
COMMENT ON COLUMN webhook_secrets.expires_at IS 'Until when it signs beside a newer one; null: it is the newest.';

-- How each endpoint fares, as the instances that call it last saw.
CREATE TABLE webhook_states (
    subscription_id    uuid        PRIMARY KEY REFERENCES webhook_subscriptions ON DELETE CASCADE,
    failing_since      timestamptz,
    failed_attempts    bigint      NOT NULL DEFAULT 0,
    last_success_at    timestamptz,
    last_failure_at    timestamptz,
    last_failure_class text,
    last_failure       text,
    breaker            text        NOT NULL DEFAULT 'closed' CHECK (breaker IN ('closed', 'open', 'half_open')),
    breaker_until      timestamptz,
    updated_at         timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON COLUMN webhook_states.failing_since IS 'The first failure since the last success.';
COMMENT ON COLUMN webhook_states.failed_attempts IS 'Failures since the last success.';

-- Attempts by the minute, of the last day: health is read from these, whatever the deliveries.
CREATE TABLE webhook_counts (
    subscription_id uuid        NOT NULL REFERENCES webhook_subscriptions ON DELETE CASCADE,
    minute          timestamptz NOT NULL,
    attempts        bigint      NOT NULL,
    successes       bigint      NOT NULL,
    PRIMARY KEY (subscription_id, minute)
) WITH (fillfactor = 50);

-- The last change of each subscription or its secrets, removed ones too, by which an instance reads
-- what it does not know yet; who listens is told at once.
CREATE TABLE webhook_changes (
    subscription_id uuid   PRIMARY KEY,
    number          bigint NOT NULL
);
CREATE INDEX webhook_changes_number ON webhook_changes (number);
CREATE SEQUENCE webhook_change_numbers;
COMMENT ON COLUMN webhook_changes.number IS 'Ascends in the order of commits, so that who knows one knows all below.';

CREATE FUNCTION webhook_changed() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    changed uuid := (to_jsonb(coalesce(NEW, OLD)) ->> TG_ARGV[0])::uuid;
BEGIN
    -- Until the transaction ends, so that no lower number is committed after a higher one.
    PERFORM pg_advisory_xact_lock(hashtextextended('sluice webhook changes', 0));
    INSERT INTO webhook_changes VALUES (changed, nextval('webhook_change_numbers'))
        ON CONFLICT (subscription_id) DO UPDATE SET number = excluded.number;
    PERFORM pg_notify('sluice_webhooks', '');
    RETURN NULL;
END
$$;
CREATE TRIGGER webhook_subscriptions_changed AFTER INSERT OR UPDATE OR DELETE ON webhook_subscriptions
    FOR EACH ROW EXECUTE FUNCTION webhook_changed('id');
CREATE TRIGGER webhook_secrets_changed AFTER INSERT OR UPDATE OR DELETE ON webhook_secrets
    FOR EACH ROW EXECUTE FUNCTION webhook_changed('subscription_id');

-- A delivery that a person has sent again waits here until Kafka has its letter, so that no crash
-- between the two loses it.
ALTER TABLE deliveries ADD COLUMN post_at timestamptz;
CREATE INDEX deliveries_to_post ON deliveries ("group", post_at) WHERE post_at IS NOT NULL;
-- Postgres writes every index of a row anew as soon as an update changes a column that any index
-- names, its condition included. A delivery that succeeds changes none of these.
ALTER TABLE deliveries
    ADD COLUMN dead_at timestamptz GENERATED ALWAYS AS (CASE WHEN status = 'dead' THEN updated_at END) STORED;
DROP INDEX deliveries_open, deliveries_company;
CREATE INDEX deliveries_dead ON deliveries ("group", dead_at) WHERE dead_at IS NOT NULL;
-- Until a burst of rows is analysed, Postgres takes any index that a look-up can use for as good as
-- another. So only the primary key begins with the group, and this one, by an expression, is for who
-- lists a target's deliveries and never for who looks for one of them.
DROP INDEX deliveries_target;
CREATE INDEX deliveries_target ON deliveries ((target || ''), "group", created_at);
COMMENT ON COLUMN deliveries.dead_at IS 'When it became dead, as long as it is.';
-- For their removal by age; rows stay where they were inserted, so that this costs next to nothing.
CREATE INDEX deliveries_age ON deliveries USING brin (created_at);
COMMENT ON COLUMN deliveries.post_at IS 'When its letter is to be produced: it was redriven or is sent again, and Kafka has not acknowledged it.';
COMMENT ON COLUMN deliveries.company_id IS 'For whom it is: the target''s company.';

-- A run that sends deliveries again, which are rows of their own under its id.
ALTER TABLE replays DROP CONSTRAINT replays_kind_check;
ALTER TABLE replays
    ADD CONSTRAINT replays_kind_check
        CHECK (kind IN ('rewind', 'skip', 'skip_refused', 'redeliver', 'recover')),
    ALTER COLUMN topic DROP NOT NULL,
    ALTER COLUMN topic_id DROP NOT NULL,
    ALTER COLUMN partition DROP NOT NULL,
    ALTER COLUMN from_offset DROP NOT NULL,
    ALTER COLUMN to_offset DROP NOT NULL,
    ALTER COLUMN metadata DROP NOT NULL,
    ADD COLUMN target text,
    ADD COLUMN company_id text,
    ADD COLUMN actor text,
    ADD COLUMN selection json;
COMMENT ON COLUMN replays.selection IS 'What was asked to be sent again.';

-- People of a company see their own subscriptions and how they fare; nobody reads a secret by this
-- role.
GRANT SELECT ON webhook_subscriptions, webhook_states, webhook_counts TO sluice_reader;
ALTER TABLE webhook_subscriptions ENABLE ROW LEVEL SECURITY;
ALTER TABLE webhook_states ENABLE ROW LEVEL SECURITY;
ALTER TABLE webhook_counts ENABLE ROW LEVEL SECURITY;
CREATE POLICY webhook_subscriptions_reader ON webhook_subscriptions FOR SELECT TO sluice_reader USING (
    (SELECT current_setting('sluice.view', true)) = 'platform'
    OR (
        company_id = (SELECT current_setting('sluice.company', true))
        AND (SELECT current_setting('sluice.view', true)) = 'company'
    )
);
CREATE POLICY webhook_states_reader ON webhook_states FOR SELECT TO sluice_reader USING (
    EXISTS (SELECT FROM webhook_subscriptions s WHERE s.id = subscription_id)
);
CREATE POLICY webhook_counts_reader ON webhook_counts FOR SELECT TO sluice_reader USING (
    EXISTS (SELECT FROM webhook_subscriptions s WHERE s.id = subscription_id)
);
