-- Topics of changes without a NOTIFY in the transaction of the change: PostgreSQL lets only one
-- transaction with a NOTIFY commit at a time, the wait for the disk included. A transaction leaves its
-- topics here instead, and each coordinator reads what its snapshot before did not see
-- (coordinator/db/db_change_reader.c). Who has to be connected to read them has lost nothing when they
-- are lost in a crash of the server, so they need no log.
CREATE UNLOGGED TABLE change (
    transaction xid8 NOT NULL DEFAULT pg_current_xact_id(),
    topic text NOT NULL CHECK (length(topic) BETWEEN 1 AND 200),
    PRIMARY KEY (transaction, topic)
);

-- A session that has set crosspool.tell_changes is told itself, by notices with the SQLSTATEs CPCHG and
-- CPEVT, and wakes others after its commit (coordinator/db/db_change.c).
CREATE OR REPLACE FUNCTION resource_tell(topic text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO change (topic) VALUES (topic) ON CONFLICT DO NOTHING;
    IF current_setting('crosspool.tell_changes', true) = 'on' THEN
        RAISE INFO '%', topic USING ERRCODE = 'CPCHG';
    END IF;
END $$;

CREATE OR REPLACE FUNCTION event_add(kind text, resource text, resource_id uuid, pools uuid[], body jsonb)
    RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO event (kind, resource, resource_id, pools, body)
    VALUES (kind, resource, resource_id,
        ARRAY(SELECT DISTINCT pool FROM unnest(pools) AS pool WHERE pool IS NOT NULL), body);
    IF current_setting('crosspool.tell_changes', true) = 'on' THEN
        RAISE INFO 'added' USING ERRCODE = 'CPEVT';
    END IF;
END $$;
