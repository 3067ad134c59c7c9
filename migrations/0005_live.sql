-- Live push: what all instances must share.

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
