-- Where orders begin in the log, and who asked for a connection: what the events say, as tables.

CREATE TABLE orders (
    company_id  text        NOT NULL CHECK (octet_length(company_id) <= 512),
    order_id    text        NOT NULL CHECK (octet_length(order_id) <= 512),
    topic_id    uuid        NOT NULL,
    partition   integer     NOT NULL,
    "offset"    bigint      NOT NULL,
    appended_at timestamptz NOT NULL,
    PRIMARY KEY (company_id, order_id)
);
COMMENT ON TABLE orders IS 'The record of the first order.created of each order.';

CREATE TABLE connection_requests (
    company_id        text NOT NULL CHECK (octet_length(company_id) <= 512),
    request_id        text NOT NULL CHECK (octet_length(request_id) <= 512),
    target_company_id text NOT NULL CHECK (octet_length(target_company_id) <= 512),
    user_id           text CHECK (octet_length(user_id) <= 512),
    PRIMARY KEY (company_id, request_id)
);
COMMENT ON TABLE connection_requests IS 'Who of which company asked which other company for a connection.';

-- As the log shows order events: to everybody of the company.
GRANT SELECT ON orders TO sluice_reader;
ALTER TABLE orders ENABLE ROW LEVEL SECURITY;
CREATE POLICY orders_reader ON orders FOR SELECT TO sluice_reader USING (
    current_setting('sluice.view', true) = 'platform'
    OR (current_setting('sluice.view', true) IN ('company', 'member')
        AND company_id = current_setting('sluice.company', true))
);
