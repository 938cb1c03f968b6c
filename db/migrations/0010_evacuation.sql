-- Maintenance of pools, and evacuations: plans for emptying hosts and what became of each VM.

-- Nothing new is placed on a host that is, or whose pool is, in maintenance.
ALTER TABLE pool ADD COLUMN in_maintenance boolean NOT NULL DEFAULT false;

CREATE FUNCTION pool_maintenance_event() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM event_add('pool.maintenance', 'pools', NEW.id, ARRAY[NEW.id],
        jsonb_build_object('name', NEW.name, 'in_maintenance', NEW.in_maintenance));
    RETURN NULL;
END $$;
CREATE TRIGGER pool_maintenance AFTER UPDATE ON pool
    FOR EACH ROW WHEN (OLD.in_maintenance <> NEW.in_maintenance)
    EXECUTE FUNCTION pool_maintenance_event();

-- The states are those of coordinator/domain/evacuation.h. request is evacuation_request of that
-- header, all names as ids; plan is evacuation_plan of it, of the newest plan. pools are all that it
-- concerns, as sources or destinations. maintained_*: what it put into maintenance itself.
-- rollback_id: the return that its rollback made; rollback_tried_at: when it last tried to make one.
CREATE TABLE evacuation (
    id uuid PRIMARY KEY,
    sequence bigint NOT NULL GENERATED ALWAYS AS IDENTITY UNIQUE,
    state text NOT NULL DEFAULT 'running' CHECK (state IN ('running', 'paused', 'stopping',
        'rolling-back', 'cancelling', 'succeeded', 'succeeded-with-exceptions', 'failed',
        'cancelled')),
    return_of uuid REFERENCES evacuation (id),
    rollback_id uuid REFERENCES evacuation (id),
    rollback_tried_at timestamptz,
    pools uuid[] NOT NULL CHECK (cardinality(pools) > 0),
    request jsonb NOT NULL CHECK (jsonb_typeof(request) = 'object'),
    deadline timestamptz,
    maintained_hosts uuid[] NOT NULL DEFAULT '{}',
    maintained_pools uuid[] NOT NULL DEFAULT '{}',
    plan jsonb NOT NULL CHECK (jsonb_typeof(plan) = 'object'),
    plans integer NOT NULL DEFAULT 1 CHECK (plans > 0),
    planned_at timestamptz NOT NULL DEFAULT now(),
    is_plan_due boolean NOT NULL DEFAULT false,
    created_by text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    ended_at timestamptz,
    CHECK ((state IN ('succeeded', 'succeeded-with-exceptions', 'failed', 'cancelled'))
        = (ended_at IS NOT NULL))
);
CREATE INDEX evacuation_active_idx ON evacuation (sequence) WHERE ended_at IS NULL;
CREATE INDEX evacuation_return_idx ON evacuation (return_of);

-- vm_id is the object when the evacuation was made, current_vm_id what it is now: objects change
-- between pools, so neither is a foreign key. current_host_id: where the evacuation knows it to be.
-- via_host_id: it makes way over that host first. is_destination_fixed: the request named it.
-- planned_*: NULL while no plan holds it. reasons: why it does not move, or did not. refused_at:
-- since when plans leave it out. migration_id: the newest one; return_mapping: a map that undoes the
-- first, in the shape of "mapping" in POST /v1/migrations; mapping: its own map in place of the
-- evacuation's.
CREATE TABLE evacuation_vm (
    evacuation_id uuid NOT NULL REFERENCES evacuation (id) ON DELETE CASCADE,
    vm_id uuid NOT NULL,
    position integer NOT NULL,
    current_vm_id uuid NOT NULL,
    domain_uuid uuid NOT NULL,
    name text NOT NULL CHECK (length(name) BETWEEN 1 AND 128),
    source_pool_id uuid NOT NULL REFERENCES pool (id),
    source_host_id uuid NOT NULL REFERENCES host (id),
    current_host_id uuid NOT NULL REFERENCES host (id),
    destination_host_id uuid REFERENCES host (id),
    via_host_id uuid REFERENCES host (id),
    is_destination_fixed boolean NOT NULL DEFAULT false,
    priority integer NOT NULL DEFAULT 0,
    strategy text NOT NULL DEFAULT 'live' CHECK (strategy IN ('live', 'suspend')),
    state text NOT NULL CHECK (state IN ('waiting', 'moving', 'moved', 'failed', 'refused',
        'skipped', 'cancelled')),
    planned_start timestamptz,
    planned_end timestamptz,
    planned_bytes bigint CHECK (planned_bytes >= 0),
    planned_pause_ms bigint CHECK (planned_pause_ms >= 0),
    reasons jsonb NOT NULL DEFAULT '[]' CHECK (jsonb_typeof(reasons) = 'array'),
    refused_at timestamptz,
    not_before timestamptz NOT NULL DEFAULT now(),
    attempts integer NOT NULL DEFAULT 0 CHECK (attempts >= 0),
    migration_id uuid,
    mapping jsonb,
    return_mapping jsonb,
    started_at timestamptz,
    ended_at timestamptz,
    PRIMARY KEY (evacuation_id, vm_id)
);
-- A VM is part of at most one evacuation that is not over.
CREATE UNIQUE INDEX evacuation_vm_one_active ON evacuation_vm (domain_uuid)
    WHERE state IN ('waiting', 'moving');
CREATE INDEX evacuation_vm_migration_idx ON evacuation_vm (migration_id);

CREATE FUNCTION evacuation_event() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    kinds text[] := '{}';
    kind text;
BEGIN
    IF TG_OP = 'INSERT' THEN
        kinds := '{evacuation.created}';
    ELSE
        kinds := array_remove(ARRAY[
            CASE WHEN NEW.state <> OLD.state THEN 'evacuation.state' END,
            CASE WHEN NEW.plans <> OLD.plans THEN 'evacuation.planned' END], NULL);
    END IF;
    FOREACH kind IN ARRAY kinds LOOP
        PERFORM event_add(kind, 'evacuations', NEW.id, NEW.pools,
            jsonb_build_object('state', NEW.state, 'before',
                CASE WHEN kind = 'evacuation.state' THEN OLD.state END, 'return_of', NEW.return_of,
                'deadline', NEW.deadline, 'plans', NEW.plans, 'plan', NEW.plan));
    END LOOP;
    RETURN NULL;
END $$;
CREATE TRIGGER evacuation_created AFTER INSERT ON evacuation
    FOR EACH ROW EXECUTE FUNCTION evacuation_event();
CREATE TRIGGER evacuation_changed AFTER UPDATE ON evacuation
    FOR EACH ROW WHEN ((OLD.state, OLD.plans) IS DISTINCT FROM (NEW.state, NEW.plans))
    EXECUTE FUNCTION evacuation_event();

CREATE FUNCTION evacuation_vm_event() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM event_add('evacuation.vm', 'evacuations', NEW.evacuation_id,
        (SELECT pools FROM evacuation WHERE id = NEW.evacuation_id),
        jsonb_build_object('vm', NEW.vm_id, 'name', NEW.name, 'state', NEW.state, 'before',
            OLD.state, 'destination', NEW.destination_host_id, 'migration', NEW.migration_id,
            'attempts', NEW.attempts, 'reasons', NEW.reasons));
    RETURN NULL;
END $$;
CREATE TRIGGER evacuation_vm_changed AFTER UPDATE ON evacuation_vm
    FOR EACH ROW WHEN (OLD.state <> NEW.state) EXECUTE FUNCTION evacuation_vm_event();
