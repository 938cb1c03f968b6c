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

-- A heartbeat that says nothing new sets last_seen alone, and no trigger of the table looks at it: each
-- look at a WHEN costs more than the heartbeat. Who hears of a host that was taken for lost, or may have
-- been, sets is_up with it.
DROP TRIGGER host_seen ON host;
DROP FUNCTION host_seen();
DROP TRIGGER host_updated ON host;
CREATE TRIGGER host_updated AFTER UPDATE OF name, pool_id, is_up ON host FOR EACH ROW
    WHEN ((old.name, old.pool_id, old.is_up, old.last_seen) IS DISTINCT FROM
        (new.name, new.pool_id, new.is_up, new.last_seen))
    EXECUTE FUNCTION resource_changed('host');
DROP TRIGGER host_changed ON host;
CREATE TRIGGER host_changed AFTER UPDATE OF state, in_maintenance, is_up, name, hypervisor,
        hypervisor_version, cpu_model, cpus, memory_bytes ON host
    FOR EACH ROW WHEN ((OLD.state, OLD.in_maintenance, OLD.is_up, OLD.name, OLD.hypervisor,
        OLD.hypervisor_version, OLD.cpu_model, OLD.cpus, OLD.memory_bytes) IS DISTINCT FROM
        (NEW.state, NEW.in_maintenance, NEW.is_up, NEW.name, NEW.hypervisor,
        NEW.hypervisor_version, NEW.cpu_model, NEW.cpus, NEW.memory_bytes))
    EXECUTE FUNCTION host_event();
