-- What retention took out of the log. See docs/retention.md for the files themselves.

-- One row an archive. A month has a second part where records of it were written after the first.
CREATE TABLE archived_months (
    month           date        NOT NULL CHECK (extract(day FROM month) = 1),
    part            integer     NOT NULL CHECK (part > 0),
    folder          text        NOT NULL,
    manifest_sha256 bytea       NOT NULL,
    rows            bigint      NOT NULL,
    quarantined     bigint      NOT NULL,
    bytes           bigint      NOT NULL,
    digest          bytea       NOT NULL,
    archived_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (month, part)
);

COMMENT ON COLUMN archived_months.folder IS 'Where the files were written; they may have been moved since.';
COMMENT ON COLUMN archived_months.digest IS 'SHA-256 over the record hashes of the log''s rows in the file''s order.';

-- Which offsets an archive holds: a record of the month between these is archived, and an absent
-- row is no gap.
CREATE TABLE archived_ranges (
    topic_id     uuid    NOT NULL,
    partition    integer NOT NULL,
    month        date    NOT NULL,
    part         integer NOT NULL,
    topic        text    NOT NULL,
    first_offset bigint  NOT NULL,
    last_offset  bigint  NOT NULL CHECK (last_offset >= first_offset),
    rows         bigint  NOT NULL,
    quarantined  bigint  NOT NULL,
    PRIMARY KEY (topic_id, partition, month, part),
    FOREIGN KEY (month, part) REFERENCES archived_months
);
