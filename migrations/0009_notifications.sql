-- Notifications: what people are told, by which channels, and how they want it.

CREATE TABLE notifications (
    id           uuid        PRIMARY KEY,
    company_id   text        NOT NULL,
    user_id      text        NOT NULL,
    event_id     uuid        NOT NULL,
    event_type   text        NOT NULL,
    rule         text        NOT NULL,
    run          bigint      NOT NULL,
    category     text        NOT NULL,
    priority     text        NOT NULL CHECK (priority IN ('low', 'normal', 'high', 'urgent')),
    title        text        NOT NULL,
    body         text        NOT NULL,
    link         text        NOT NULL,
    channels     text[]      NOT NULL,
    topic        text        NOT NULL,
    topic_id     uuid        NOT NULL,
    partition    integer     NOT NULL,
    "offset"     bigint      NOT NULL,
    appended_at  timestamptz NOT NULL,
    held_until   timestamptz,
    expired      boolean     NOT NULL DEFAULT false,
    state        text        NOT NULL DEFAULT 'unseen' CHECK (state IN ('unseen', 'seen', 'read', 'archived')),
    shown_at     timestamptz,
    created_at   timestamptz NOT NULL DEFAULT clock_timestamp()
) WITH (fillfactor = 85);
CREATE INDEX notifications_person ON notifications (company_id, user_id, shown_at, id) WHERE shown_at IS NOT NULL;
CREATE INDEX notifications_held ON notifications (held_until) WHERE held_until IS NOT NULL;
CREATE INDEX notifications_age ON notifications USING brin (created_at);

COMMENT ON COLUMN notifications.id IS 'Of version 5, made from company, event id, rule, person and run: the same event never tells anybody twice.';
COMMENT ON COLUMN notifications.held_until IS 'The end of the person''s quiet hours; null: nothing is held back.';
COMMENT ON COLUMN notifications.expired IS 'Its event was too old when it was planned: nothing is sent.';
COMMENT ON COLUMN notifications.shown_at IS 'Since when it is in the person''s list; null: the channel in_app has not delivered it.';

CREATE TABLE notification_preferences (
    company_id  text        NOT NULL,
    user_id     text        NOT NULL,
    muted       boolean     NOT NULL DEFAULT false,
    channels    json        NOT NULL DEFAULT '{}',
    quiet_from  time,
    quiet_until time,
    updated_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (company_id, user_id),
    CHECK ((quiet_from IS NULL) = (quiet_until IS NULL))
);
COMMENT ON COLUMN notification_preferences.channels IS 'By category, the channels that are wanted: {"orders": ["in_app"]}; a category that is not there has all of its rule.';
COMMENT ON COLUMN notification_preferences.quiet_from IS 'In the person''s own time zone.';

-- Rules that a company has switched off.
CREATE TABLE notification_rules_off (
    company_id text        NOT NULL,
    rule       text        NOT NULL,
    since      timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (company_id, rule)
);

-- Addresses to which no mail goes any more.
CREATE TABLE mail_suppressions (
    address    text        PRIMARY KEY,
    reason     text        NOT NULL CHECK (reason IN ('refused', 'asked')),
    created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- A person sees what they were told, and nobody else's.
GRANT SELECT ON notifications, notification_preferences, notification_rules_off TO sluice_reader;
ALTER TABLE notifications ENABLE ROW LEVEL SECURITY;
ALTER TABLE notification_preferences ENABLE ROW LEVEL SECURITY;
ALTER TABLE notification_rules_off ENABLE ROW LEVEL SECURITY;
CREATE POLICY notifications_reader ON notifications FOR SELECT TO sluice_reader USING (
    current_setting('sluice.view', true) IN ('company', 'member')
    AND company_id = current_setting('sluice.company', true)
    AND user_id = current_setting('sluice.user', true)
);
CREATE POLICY notification_preferences_reader ON notification_preferences FOR SELECT TO sluice_reader USING (
    current_setting('sluice.view', true) IN ('company', 'member')
    AND company_id = current_setting('sluice.company', true)
    AND user_id = current_setting('sluice.user', true)
);
CREATE POLICY notification_rules_off_reader ON notification_rules_off FOR SELECT TO sluice_reader USING (
    current_setting('sluice.view', true) = 'platform'
    OR company_id = current_setting('sluice.company', true)
);
