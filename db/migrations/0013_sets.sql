-- Statements of the coordinator change many rows at once, so what follows from a change is done for the
-- whole statement, too.

-- A session is told each topic once in a transaction, all of a statement in one notice, a line each.
CREATE FUNCTION topics_tell(topics text[]) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    told text;
BEGIN
    WITH added AS (INSERT INTO change (topic) SELECT unnest(topics) ON CONFLICT DO NOTHING
        RETURNING change.topic)
    SELECT string_agg(added.topic, E'\n') INTO told FROM added;
    IF told IS NOT NULL AND current_setting('crosspool.tell_changes', true) = 'on' THEN
        RAISE INFO '%', told USING ERRCODE = 'CPCHG';
    END IF;
END $$;

CREATE OR REPLACE FUNCTION resource_tell(topic text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM topics_tell(ARRAY[topic]);
END $$;

-- Each migration by itself; many at once as "migration *", which means all.
CREATE OR REPLACE FUNCTION migration_tell(ids uuid[]) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM topics_tell(CASE WHEN cardinality(ids) > 64 THEN ARRAY['migration *']
        ELSE ARRAY(SELECT 'migration ' || id FROM unnest(ids) AS id) END);
END $$;

-- That events were added, as event_add() tells of one.
CREATE FUNCTION event_tell() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF current_setting('crosspool.tell_changes', true) = 'on' THEN
        RAISE INFO 'added' USING ERRCODE = 'CPEVT';
    END IF;
END $$;

CREATE FUNCTION migration_event_body(m migration, before text) RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT jsonb_build_object('name', m.name, 'vm', m.vm_id, 'destination_vm', m.destination_vm_id,
        'state', m.state, 'before', before, 'epoch', m.epoch, 'waits_for', m.waits_for,
        'is_cancel_requested', m.is_cancel_requested,
        'error', CASE WHEN m.error_code IS NOT NULL THEN jsonb_build_object('code', m.error_code,
            'message', m.error_text) END,
        'source', jsonb_build_object('pool', m.source_pool_id, 'host', m.source_host_id),
        'destination', jsonb_build_object('pool', m.destination_pool_id, 'host',
            m.destination_host_id))
$$;

CREATE OR REPLACE FUNCTION migration_event() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM event_add('migration.created', 'migrations', NEW.id,
        ARRAY[NEW.source_pool_id, NEW.destination_pool_id], migration_event_body(NEW, NULL));
    RETURN NULL;
END $$;

CREATE FUNCTION migration_events() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO event (kind, resource, resource_id, pools, body)
    SELECT k.kind, 'migrations', n.id,
        CASE WHEN n.source_pool_id = n.destination_pool_id THEN ARRAY[n.source_pool_id]
            ELSE ARRAY[n.source_pool_id, n.destination_pool_id] END,
        migration_event_body(n, CASE WHEN k.kind = 'migration.state' THEN o.state END)
    FROM newer n JOIN older o ON o.id = n.id CROSS JOIN LATERAL (VALUES
        (1, CASE WHEN (n.source_host_id, n.destination_host_id) IS DISTINCT FROM
            (o.source_host_id, o.destination_host_id) THEN 'migration.placed' END),
        (2, CASE WHEN n.is_cancel_requested AND NOT o.is_cancel_requested
            THEN 'migration.cancelling' END),
        (3, CASE WHEN n.error_code IS DISTINCT FROM o.error_code THEN 'migration.error' END),
        (4, CASE WHEN (n.state, n.epoch) IS DISTINCT FROM (o.state, o.epoch) THEN 'migration.state'
            WHEN n.waits_for IS DISTINCT FROM o.waits_for THEN 'migration.waiting' END))
        AS k(place, kind)
    WHERE k.kind IS NOT NULL ORDER BY n.sequence, k.place;
    IF FOUND THEN
        PERFORM event_tell();
    END IF;
    RETURN NULL;
END $$;
DROP TRIGGER migration_changed ON migration;
CREATE TRIGGER migration_changed AFTER UPDATE ON migration
    REFERENCING OLD TABLE AS older NEW TABLE AS newer
    FOR EACH STATEMENT EXECUTE FUNCTION migration_events();

-- A column that an index looks at, be it in its WHERE, makes PostgreSQL write all indexes anew when it
-- changes, so states are in none: a migration's moves and a step's claim touch no index while there is
-- room on the row's page.
DROP INDEX migration_queue_idx;
CREATE INDEX migration_queue_idx ON migration (priority DESC, sequence) WHERE ended_at IS NULL;
DROP INDEX migration_pair_idx;
CREATE INDEX migration_pair_idx ON migration (source_host_id, destination_host_id, sequence);
ALTER TABLE migration SET (fillfactor = 60);

ALTER TABLE step ADD COLUMN is_live boolean NOT NULL
    GENERATED ALWAYS AS (state IN ('queued', 'running')) STORED;
DROP INDEX step_one_live_of_a_kind;
CREATE UNIQUE INDEX step_one_live_of_a_kind ON step (migration_id, kind) WHERE is_live;
DROP INDEX step_live_idx;
CREATE INDEX step_live_idx ON step (host_id, sequence) WHERE is_live;
ALTER TABLE step SET (fillfactor = 70);
