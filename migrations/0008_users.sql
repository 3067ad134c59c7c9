-- People, as the events of users and an application's own list say.

CREATE TABLE users (
    company_id text        NOT NULL CHECK (octet_length(company_id) <= 512),
    user_id    text        NOT NULL CHECK (octet_length(user_id) <= 512),
    email      text        CHECK (octet_length(email) <= 512),
    name       text        CHECK (octet_length(name) <= 512),
    role       text        CHECK (octet_length(role) <= 512),
    locale     text        CHECK (octet_length(locale) <= 512),
    time_zone  text        CHECK (octet_length(time_zone) <= 512),
    active     boolean,
    topic_id   uuid,
    partition  integer,
    "offset"   bigint,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (company_id, user_id)
);
CREATE INDEX users_role ON users (company_id, role) WHERE active IS NOT FALSE;

COMMENT ON COLUMN users.locale IS 'BCP 47 language tag.';
COMMENT ON COLUMN users.time_zone IS 'IANA time zone.';
COMMENT ON COLUMN users.active IS 'Whether the person may log in; null: nobody said, and it is so.';
COMMENT ON COLUMN users.topic_id IS 'With partition and offset: the last event of this person; null where only a list named it.';
