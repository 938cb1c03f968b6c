-- Events: what changed, written by triggers in the transaction of the change; and webhooks, to which
-- they are delivered.

-- id is the order of writing, which is not the order of commits. sequence is the public number: it is
-- given once the event is visible to all (coordinator/store/event_store.c), so a reader that goes on
-- after a sequence misses nothing. resource is the word of its path below /v1/; pools are those
-- concerned.
CREATE TABLE event (
    id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    sequence bigint UNIQUE CHECK (sequence > 0),
    kind text NOT NULL CHECK (kind ~ '^[a-z_]{1,15}\.[a-z_]{1,15}$'),
    resource text NOT NULL CHECK (length(resource) BETWEEN 1 AND 16),
    resource_id uuid NOT NULL,
    pools uuid[] NOT NULL,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    body jsonb NOT NULL CHECK (jsonb_typeof(body) = 'object')
);
CREATE INDEX event_unnumbered_idx ON event (id) WHERE sequence IS NULL;

-- The one row is the last number given. It outlives the events, and whoever numbers locks it.
CREATE TABLE event_counter (
    is_only boolean PRIMARY KEY DEFAULT true CHECK (is_only),
    last bigint NOT NULL DEFAULT 0
);
INSERT INTO event_counter DEFAULT VALUES;

-- The one door into the table.
CREATE FUNCTION event_add(kind text, resource text, resource_id uuid, pools uuid[], body jsonb)
    RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO event (kind, resource, resource_id, pools, body)
    VALUES (kind, resource, resource_id,
        ARRAY(SELECT DISTINCT pool FROM unnest(pools) AS pool WHERE pool IS NOT NULL), body);
    PERFORM pg_notify('event', '');
END $$;

-- An event as it is shown and sent: one line.
CREATE FUNCTION event_json(e event) RETURNS text LANGUAGE sql STABLE AS $$
    SELECT json_build_object('sequence', e.sequence, 'kind', e.kind, 'resource', e.resource,
        'id', e.resource_id, 'pools', e.pools, 'at', e.at, 'body', e.body)::text
$$;

CREATE FUNCTION pool_event() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    this pool := CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END;
BEGIN
    PERFORM event_add('pool.' || TG_ARGV[0], 'pools', this.id, ARRAY[this.id],
        jsonb_build_object('name', this.name));
    RETURN NULL;
END $$;
CREATE TRIGGER pool_created AFTER INSERT ON pool
    FOR EACH ROW EXECUTE FUNCTION pool_event('created');
CREATE TRIGGER pool_changed AFTER UPDATE ON pool
    FOR EACH ROW WHEN (OLD.name <> NEW.name) EXECUTE FUNCTION pool_event('changed');
CREATE TRIGGER pool_removed AFTER DELETE ON pool
    FOR EACH ROW EXECUTE FUNCTION pool_event('removed');

CREATE FUNCTION mapping_set_event() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    this mapping_set := CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END;
BEGIN
    PERFORM event_add('mapping_set.' || TG_ARGV[0], 'mapping-sets', this.id, '{}',
        jsonb_build_object('name', this.name));
    RETURN NULL;
END $$;
CREATE TRIGGER mapping_set_created AFTER INSERT ON mapping_set
    FOR EACH ROW EXECUTE FUNCTION mapping_set_event('created');
CREATE TRIGGER mapping_set_changed AFTER UPDATE ON mapping_set
    FOR EACH ROW WHEN (OLD.name <> NEW.name OR OLD.mapping <> NEW.mapping)
    EXECUTE FUNCTION mapping_set_event('changed');
CREATE TRIGGER mapping_set_removed AFTER DELETE ON mapping_set
    FOR EACH ROW EXECUTE FUNCTION mapping_set_event('removed');

-- is_up: the host reports. A report sets it, the coordinator's sweep clears it.
ALTER TABLE host ADD COLUMN is_up boolean NOT NULL DEFAULT false;
CREATE FUNCTION host_seen() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.is_up := true;
    RETURN NEW;
END $$;
CREATE TRIGGER host_seen BEFORE UPDATE OF last_seen ON host
    FOR EACH ROW WHEN (NOT OLD.is_up AND NEW.last_seen IS DISTINCT FROM OLD.last_seen)
    EXECUTE FUNCTION host_seen();

CREATE FUNCTION host_event() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    kinds text[] := '{}';
    kind text;
BEGIN
    IF TG_OP = 'INSERT' THEN
        kinds := '{host.created}';
    ELSE
        kinds := array_remove(ARRAY[
            CASE WHEN NEW.state <> OLD.state THEN 'host.state' END,
            CASE WHEN NEW.in_maintenance <> OLD.in_maintenance THEN 'host.maintenance' END,
            CASE WHEN NEW.is_up AND NOT OLD.is_up THEN 'host.up'
                WHEN OLD.is_up AND NOT NEW.is_up THEN 'host.lost' END,
            CASE WHEN (NEW.name, NEW.hypervisor, NEW.hypervisor_version, NEW.cpu_model, NEW.cpus,
                NEW.memory_bytes) IS DISTINCT FROM (OLD.name, OLD.hypervisor,
                OLD.hypervisor_version, OLD.cpu_model, OLD.cpus, OLD.memory_bytes)
                THEN 'host.changed' END], NULL);
    END IF;
    FOREACH kind IN ARRAY kinds LOOP
        PERFORM event_add(kind, 'hosts', NEW.id, ARRAY[NEW.pool_id],
            jsonb_build_object('name', NEW.name, 'pool', NEW.pool_id, 'state', NEW.state,
                'is_up', NEW.is_up, 'in_maintenance', NEW.in_maintenance));
    END LOOP;
    RETURN NULL;
END $$;
CREATE TRIGGER host_created AFTER INSERT ON host
    FOR EACH ROW EXECUTE FUNCTION host_event();
CREATE TRIGGER host_changed AFTER UPDATE ON host
    FOR EACH ROW WHEN ((OLD.state, OLD.in_maintenance, OLD.is_up, OLD.name, OLD.hypervisor,
        OLD.hypervisor_version, OLD.cpu_model, OLD.cpus, OLD.memory_bytes) IS DISTINCT FROM
        (NEW.state, NEW.in_maintenance, NEW.is_up, NEW.name, NEW.hypervisor,
        NEW.hypervisor_version, NEW.cpu_model, NEW.cpus, NEW.memory_bytes))
    EXECUTE FUNCTION host_event();

CREATE FUNCTION network_event() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    this network := CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END;
BEGIN
    PERFORM event_add('network.' || TG_ARGV[0], 'networks', this.id,
        ARRAY(SELECT pool_id FROM host WHERE host.id = this.host_id),
        jsonb_build_object('name', this.name, 'host', this.host_id, 'bridge', this.bridge));
    RETURN NULL;
END $$;
CREATE TRIGGER network_appeared AFTER INSERT ON network
    FOR EACH ROW EXECUTE FUNCTION network_event('appeared');
CREATE TRIGGER network_changed AFTER UPDATE ON network
    FOR EACH ROW WHEN ((OLD.name, OLD.bridge) IS DISTINCT FROM (NEW.name, NEW.bridge))
    EXECUTE FUNCTION network_event('changed');
CREATE TRIGGER network_gone AFTER DELETE ON network
    FOR EACH ROW EXECUTE FUNCTION network_event('gone');

-- How much of it is free changes all the time and is not told.
CREATE FUNCTION sr_event() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    this sr := CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END;
BEGIN
    PERFORM event_add('sr.' || TG_ARGV[0], 'srs', this.id, ARRAY[this.pool_id],
        jsonb_build_object('name', this.name, 'pool', this.pool_id, 'type', this.type,
            'size_bytes', this.size_bytes));
    RETURN NULL;
END $$;
CREATE TRIGGER sr_appeared AFTER INSERT ON sr
    FOR EACH ROW EXECUTE FUNCTION sr_event('appeared');
CREATE TRIGGER sr_changed AFTER UPDATE ON sr
    FOR EACH ROW WHEN ((OLD.name, OLD.type, OLD.size_bytes) IS DISTINCT FROM
        (NEW.name, NEW.type, NEW.size_bytes))
    EXECUTE FUNCTION sr_event('changed');
CREATE TRIGGER sr_gone AFTER DELETE ON sr
    FOR EACH ROW EXECUTE FUNCTION sr_event('gone');

CREATE FUNCTION vm_event() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    this vm := CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END;
    kinds text[] := '{}';
    kind text;
BEGIN
    IF TG_OP = 'UPDATE' THEN
        kinds := array_remove(ARRAY[
            CASE WHEN NEW.host_id <> OLD.host_id THEN 'vm.moved' END,
            CASE WHEN NEW.state <> OLD.state THEN 'vm.state' END,
            CASE WHEN (NEW.name, NEW.memory_bytes, NEW.vcpus) IS DISTINCT FROM
                (OLD.name, OLD.memory_bytes, OLD.vcpus) THEN 'vm.changed' END], NULL);
    ELSE
        kinds := ARRAY[CASE TG_OP WHEN 'INSERT' THEN 'vm.appeared' ELSE 'vm.gone' END];
    END IF;
    FOREACH kind IN ARRAY kinds LOOP
        PERFORM event_add(kind, 'vms', this.id, ARRAY[this.pool_id],
            jsonb_build_object('name', this.name, 'pool', this.pool_id, 'host', this.host_id,
                'domain', this.domain_uuid, 'state', this.state, 'memory_bytes',
                this.memory_bytes, 'vcpus', this.vcpus));
    END LOOP;
    RETURN NULL;
END $$;
CREATE TRIGGER vm_came_or_went AFTER INSERT OR DELETE ON vm
    FOR EACH ROW EXECUTE FUNCTION vm_event();
CREATE TRIGGER vm_changed AFTER UPDATE ON vm
    FOR EACH ROW WHEN ((OLD.host_id, OLD.state, OLD.name, OLD.memory_bytes, OLD.vcpus)
        IS DISTINCT FROM (NEW.host_id, NEW.state, NEW.name, NEW.memory_bytes, NEW.vcpus))
    EXECUTE FUNCTION vm_event();

CREATE FUNCTION migration_event() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    kinds text[] := '{}';
    kind text;
BEGIN
    IF TG_OP = 'INSERT' THEN
        kinds := '{migration.created}';
    ELSE
        kinds := array_remove(ARRAY[
            CASE WHEN (NEW.source_host_id, NEW.destination_host_id) IS DISTINCT FROM
                (OLD.source_host_id, OLD.destination_host_id) THEN 'migration.placed' END,
            CASE WHEN NEW.is_cancel_requested AND NOT OLD.is_cancel_requested
                THEN 'migration.cancelling' END,
            CASE WHEN NEW.error_code IS DISTINCT FROM OLD.error_code THEN 'migration.error' END,
            CASE WHEN (NEW.state, NEW.epoch) IS DISTINCT FROM (OLD.state, OLD.epoch)
                THEN 'migration.state'
                WHEN NEW.waits_for IS DISTINCT FROM OLD.waits_for THEN 'migration.waiting' END],
            NULL);
    END IF;
    FOREACH kind IN ARRAY kinds LOOP
        PERFORM event_add(kind, 'migrations', NEW.id,
            ARRAY[NEW.source_pool_id, NEW.destination_pool_id],
            jsonb_build_object('name', NEW.name, 'vm', NEW.vm_id, 'destination_vm',
                NEW.destination_vm_id, 'state', NEW.state, 'before',
                CASE WHEN kind = 'migration.state' THEN OLD.state END, 'epoch', NEW.epoch,
                'waits_for', NEW.waits_for, 'is_cancel_requested', NEW.is_cancel_requested,
                'error', CASE WHEN NEW.error_code IS NOT NULL THEN jsonb_build_object('code',
                    NEW.error_code, 'message', NEW.error_text) END,
                'source', jsonb_build_object('pool', NEW.source_pool_id, 'host',
                    NEW.source_host_id),
                'destination', jsonb_build_object('pool', NEW.destination_pool_id, 'host',
                    NEW.destination_host_id)));
    END LOOP;
    RETURN NULL;
END $$;
CREATE TRIGGER migration_created AFTER INSERT ON migration
    FOR EACH ROW EXECUTE FUNCTION migration_event();
CREATE TRIGGER migration_changed AFTER UPDATE ON migration
    FOR EACH ROW WHEN ((OLD.state, OLD.epoch, OLD.waits_for, OLD.is_cancel_requested,
        OLD.error_code, OLD.source_host_id, OLD.destination_host_id) IS DISTINCT FROM
        (NEW.state, NEW.epoch, NEW.waits_for, NEW.is_cancel_requested, NEW.error_code,
        NEW.source_host_id, NEW.destination_host_id))
    EXECUTE FUNCTION migration_event();

-- Progress is told when its phase or what it waits for changes, and else when another whole percent of
-- the disks is copied, at most once a second.
ALTER TABLE migration_progress
    ADD COLUMN told_percent integer NOT NULL DEFAULT -1,
    ADD COLUMN told_at timestamptz NOT NULL DEFAULT '-infinity';
CREATE FUNCTION migration_progress_event() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    m migration;
    total numeric;
    copied numeric;
    percent integer;
    is_new boolean := true;
BEGIN
    SELECT * INTO STRICT m FROM migration WHERE migration.id = NEW.migration_id;
    SELECT coalesce(sum((disk ->> 'size_bytes')::numeric), 0) INTO total
        FROM jsonb_array_elements(m.spec -> 'disks') AS disk;
    SELECT coalesce(sum((disk ->> 'copied_bytes')::numeric), 0) INTO copied
        FROM jsonb_array_elements(NEW.progress -> 'disks') AS disk;
    percent := CASE WHEN total > 0 THEN least(100, floor(copied * 100 / total)) ELSE 0 END;
    IF TG_OP = 'UPDATE' THEN
        is_new := (OLD.progress -> 'phase', OLD.progress -> 'waits_for') IS DISTINCT FROM
            (NEW.progress -> 'phase', NEW.progress -> 'waits_for');
    END IF;
    IF NOT is_new AND (percent = NEW.told_percent
        OR NEW.told_at > clock_timestamp() - interval '1 second') THEN
        RETURN NULL;
    END IF;
    UPDATE migration_progress SET told_percent = percent, told_at = clock_timestamp()
        WHERE migration_id = NEW.migration_id;
    PERFORM event_add('migration.progress', 'migrations', m.id,
        ARRAY[m.source_pool_id, m.destination_pool_id],
        jsonb_build_object('name', m.name, 'state', m.state, 'phase', NEW.progress -> 'phase',
            'waits_for', nullif(NEW.progress ->> 'waits_for', ''), 'percent', percent,
            'copied_bytes', copied, 'total_bytes', total));
    RETURN NULL;
END $$;
CREATE TRIGGER migration_progress_told AFTER INSERT OR UPDATE OF progress ON migration_progress
    FOR EACH ROW EXECUTE FUNCTION migration_progress_event();

-- resource, kinds and pool_id choose events; NULL or empty chooses all. The pool may be gone, so it is
-- no foreign key. The secret has to sign, so it is stored as it is. rests_until: after the receiver
-- did not answer; failures: how often in a row. leased: one coordinator delivers at a time.
CREATE TABLE webhook (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    name text NOT NULL UNIQUE CHECK (length(name) BETWEEN 1 AND 128),
    url text NOT NULL CHECK (length(url) BETWEEN 1 AND 2048),
    secret text NOT NULL CHECK (length(secret) BETWEEN 16 AND 128),
    resource text CHECK (length(resource) BETWEEN 1 AND 16),
    kinds text[] NOT NULL DEFAULT '{}' CHECK (cardinality(kinds) <= 64),
    pool_id uuid,
    is_enabled boolean NOT NULL DEFAULT true,
    created_at timestamptz NOT NULL DEFAULT now(),
    changed_at timestamptz NOT NULL DEFAULT now(),
    rests_until timestamptz NOT NULL DEFAULT now(),
    failures integer NOT NULL DEFAULT 0 CHECK (failures >= 0),
    leased_by uuid,
    leased_until timestamptz NOT NULL DEFAULT now()
);

-- One for each event that a webhook chose, made when the event gets its sequence (NULL: a test call).
-- body is what is signed and sent. number is the order. dead: given up; status and error are of the
-- last attempt. began_at: since when it is tried.
CREATE TABLE webhook_delivery (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    number bigint NOT NULL GENERATED ALWAYS AS IDENTITY UNIQUE,
    webhook_id uuid NOT NULL REFERENCES webhook (id) ON DELETE CASCADE,
    sequence bigint,
    kind text NOT NULL,
    body text NOT NULL,
    state text NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'delivered', 'dead')),
    attempts integer NOT NULL DEFAULT 0 CHECK (attempts >= 0),
    not_before timestamptz NOT NULL DEFAULT now(),
    began_at timestamptz NOT NULL DEFAULT now(),
    status integer,
    error text CHECK (length(error) <= 256),
    created_at timestamptz NOT NULL DEFAULT now(),
    ended_at timestamptz,
    CHECK ((state = 'pending') = (ended_at IS NULL))
);
CREATE INDEX webhook_delivery_pending_idx ON webhook_delivery (webhook_id, number)
    WHERE state = 'pending';
CREATE INDEX webhook_delivery_list_idx ON webhook_delivery (webhook_id, number);
CREATE INDEX webhook_delivery_ended_idx ON webhook_delivery (ended_at) WHERE state <> 'pending';
