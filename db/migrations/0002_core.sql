-- Inventory, mapping sets, migrations with their steps, and the ledger of what migrations create.

-- What a host said of itself last; NULL until its first inventory.
ALTER TABLE host
    ADD COLUMN hypervisor text CHECK (length(hypervisor) <= 16),
    ADD COLUMN accelerator text CHECK (length(accelerator) <= 16),
    ADD COLUMN hypervisor_version text CHECK (length(hypervisor_version) <= 64),
    ADD COLUMN cpu_vendor text CHECK (length(cpu_vendor) <= 32),
    ADD COLUMN cpu_model text CHECK (length(cpu_model) <= 128),
    ADD COLUMN cpus integer CHECK (cpus > 0),
    ADD COLUMN memory_bytes bigint CHECK (memory_bytes >= 0),
    ADD COLUMN memory_free_bytes bigint CHECK (memory_free_bytes >= 0),
    ADD COLUMN link_address text CHECK (length(link_address) BETWEEN 1 AND 64),
    ADD COLUMN link_port integer CHECK (link_port BETWEEN 1 AND 65535),
    ADD COLUMN last_seen timestamptz,
    ADD COLUMN inventory_generation bigint NOT NULL DEFAULT 0,
    ADD COLUMN in_maintenance boolean NOT NULL DEFAULT false;

CREATE TABLE network (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    host_id uuid NOT NULL REFERENCES host (id) ON DELETE CASCADE,
    name text NOT NULL CHECK (length(name) BETWEEN 1 AND 128),
    bridge text NOT NULL CHECK (length(bridge) <= 128),
    UNIQUE (host_id, name)
);

-- The id comes from the storage itself, so an SR that several hosts of a pool reach is one row.
CREATE TABLE sr (
    id uuid PRIMARY KEY,
    pool_id uuid NOT NULL REFERENCES pool (id),
    name text NOT NULL CHECK (length(name) BETWEEN 1 AND 128),
    type text NOT NULL CHECK (length(type) BETWEEN 1 AND 16),
    size_bytes bigint NOT NULL CHECK (size_bytes >= 0),
    free_bytes bigint NOT NULL CHECK (free_bytes >= 0)
);
CREATE INDEX sr_pool_idx ON sr (pool_id);

CREATE TABLE sr_host (
    sr_id uuid NOT NULL REFERENCES sr (id) ON DELETE CASCADE,
    host_id uuid NOT NULL REFERENCES host (id) ON DELETE CASCADE,
    PRIMARY KEY (host_id, sr_id)
);
CREATE INDEX sr_host_sr_idx ON sr_host (sr_id);

CREATE TABLE vdi (
    sr_id uuid NOT NULL REFERENCES sr (id) ON DELETE CASCADE,
    id uuid NOT NULL,
    format text NOT NULL CHECK (format IN ('raw', 'qcow2', 'vhd')),
    size_bytes bigint NOT NULL CHECK (size_bytes >= 0),
    allocated_bytes bigint NOT NULL CHECK (allocated_bytes >= 0),
    PRIMARY KEY (sr_id, id)
);
CREATE INDEX vdi_id_idx ON vdi (id);

-- domain_uuid is the hypervisor's own id, the same at both ends of a move; id is this pool's object.
-- is_present: false while the host does not report the domain but a migration of it is under way.
CREATE TABLE vm (
    id uuid PRIMARY KEY,
    pool_id uuid NOT NULL REFERENCES pool (id),
    host_id uuid NOT NULL REFERENCES host (id),
    domain_uuid uuid NOT NULL,
    name text NOT NULL CHECK (length(name) BETWEEN 1 AND 128),
    state text NOT NULL CHECK (state IN ('running', 'paused', 'shutdown', 'crashed', 'halted')),
    memory_bytes bigint NOT NULL CHECK (memory_bytes >= 0),
    vcpus integer NOT NULL CHECK (vcpus > 0),
    is_present boolean NOT NULL DEFAULT true,
    UNIQUE (pool_id, domain_uuid)
);
CREATE INDEX vm_host_idx ON vm (host_id);
CREATE INDEX vm_name_idx ON vm (name);
CREATE INDEX vm_domain_idx ON vm (domain_uuid);

-- vdi_id is the nil UUID for a disk outside every SR.
CREATE TABLE vbd (
    vm_id uuid NOT NULL REFERENCES vm (id) ON DELETE CASCADE,
    device text NOT NULL CHECK (length(device) BETWEEN 1 AND 31),
    position integer NOT NULL,
    vdi_id uuid NOT NULL,
    format text NOT NULL CHECK (format IN ('raw', 'qcow2', 'vhd')),
    size_bytes bigint NOT NULL CHECK (size_bytes >= 0),
    is_movable boolean NOT NULL,
    why_not text NOT NULL CHECK (length(why_not) <= 160),
    PRIMARY KEY (vm_id, device)
);

-- network is the host's name of it; empty when the bridge belongs to none.
CREATE TABLE vif (
    vm_id uuid NOT NULL REFERENCES vm (id) ON DELETE CASCADE,
    mac text NOT NULL CHECK (length(mac) = 17),
    position integer NOT NULL,
    network text NOT NULL CHECK (length(network) <= 128),
    PRIMARY KEY (vm_id, mac)
);

-- mapping has the shape of "mapping" in POST /v1/migrations.
CREATE TABLE mapping_set (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    name text NOT NULL UNIQUE CHECK (length(name) BETWEEN 1 AND 128),
    mapping jsonb NOT NULL CHECK (jsonb_typeof(mapping) = 'object'),
    created_at timestamptz NOT NULL DEFAULT now(),
    changed_at timestamptz NOT NULL DEFAULT now()
);

-- The states are those of coordinator/domain/migration.h. VM objects come and go, so vm_id and
-- destination_vm_id are no foreign keys. mapping is the effective one of the request, spec the
-- migration_spec of protocol/spec.h.
CREATE TABLE migration (
    id uuid PRIMARY KEY,
    sequence bigint NOT NULL GENERATED ALWAYS AS IDENTITY UNIQUE,
    vm_id uuid NOT NULL,
    destination_vm_id uuid NOT NULL,
    domain_uuid uuid NOT NULL,
    name text NOT NULL CHECK (length(name) BETWEEN 1 AND 128),
    memory_bytes bigint NOT NULL CHECK (memory_bytes >= 0),
    source_pool_id uuid NOT NULL REFERENCES pool (id),
    source_host_id uuid NOT NULL REFERENCES host (id),
    destination_pool_id uuid NOT NULL REFERENCES pool (id),
    destination_host_id uuid NOT NULL REFERENCES host (id),
    requested_host_id uuid REFERENCES host (id),
    mapping jsonb NOT NULL,
    spec jsonb NOT NULL,
    state text NOT NULL CHECK (state IN ('queued', 'preparing', 'transferring', 'handing_off',
        'cleaning', 'aborting', 'succeeded', 'failed', 'cancelled')),
    epoch bigint NOT NULL DEFAULT 0 CHECK (epoch >= 0),
    is_cancel_requested boolean NOT NULL DEFAULT false,
    error_code text,
    error_text text CHECK (length(error_text) <= 1024),
    waits_for text CHECK (length(waits_for) <= 512),
    pause_us bigint NOT NULL DEFAULT 0 CHECK (pause_us >= 0),
    created_by text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    started_at timestamptz,
    ended_at timestamptz,
    CHECK (source_host_id <> destination_host_id),
    CHECK ((state IN ('succeeded', 'failed', 'cancelled')) = (ended_at IS NOT NULL)),
    CHECK ((error_code IS NULL) = (error_text IS NULL))
);
-- At most one active migration of a VM. By domain, because a VM that was just committed has a new
-- object already while its old domain still waits to be destroyed.
CREATE UNIQUE INDEX migration_one_active_per_vm ON migration (domain_uuid) WHERE ended_at IS NULL;
CREATE INDEX migration_active_source_idx ON migration (source_host_id) WHERE ended_at IS NULL;
CREATE INDEX migration_active_destination_idx ON migration (destination_host_id)
    WHERE ended_at IS NULL;
CREATE INDEX migration_arrival_idx ON migration (domain_uuid, destination_host_id, sequence);
CREATE INDEX migration_queue_idx ON migration (sequence) WHERE state = 'queued';

CREATE TABLE migration_progress (
    migration_id uuid PRIMARY KEY REFERENCES migration (id) ON DELETE CASCADE,
    progress jsonb NOT NULL,
    changed_at timestamptz NOT NULL DEFAULT now()
);

-- queued: to be delivered; running: its agent has it in its journal; superseded: its result no longer
-- matters and its agent is told to stop it.
CREATE TABLE step (
    id uuid PRIMARY KEY,
    sequence bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    migration_id uuid NOT NULL REFERENCES migration (id) ON DELETE CASCADE,
    host_id uuid NOT NULL REFERENCES host (id),
    kind text NOT NULL CHECK (kind IN ('prepare', 'transfer', 'receive', 'handoff', 'conclude',
        'abort-source', 'abort-destination', 'clean-source', 'clean-destination')),
    epoch bigint NOT NULL CHECK (epoch >= 0),
    verdict text NOT NULL CHECK (verdict IN ('none', 'owned', 'abandoned')),
    state text NOT NULL DEFAULT 'queued'
        CHECK (state IN ('queued', 'running', 'done', 'failed', 'superseded')),
    is_cancel_requested boolean NOT NULL DEFAULT false,
    attempt integer NOT NULL DEFAULT 1 CHECK (attempt > 0),
    not_before timestamptz NOT NULL DEFAULT now(),
    error_code text,
    error_text text CHECK (length(error_text) <= 256),
    created_at timestamptz NOT NULL DEFAULT now(),
    ended_at timestamptz
);
CREATE UNIQUE INDEX step_one_live_of_a_kind ON step (migration_id, kind)
    WHERE state IN ('queued', 'running');
CREATE INDEX step_live_idx ON step (host_id, sequence) WHERE state IN ('queued', 'running');
CREATE INDEX step_migration_idx ON step (migration_id, sequence);

-- One row per object that a migration creates, before it is made. sequence is the host's; NULL as
-- long as only the coordinator planned the object. Rows outlive everything else, and hosts may
-- report migrations of a database that was lost, so migration_id is no foreign key.
CREATE TABLE ledger (
    migration_id uuid NOT NULL,
    host_id uuid NOT NULL REFERENCES host (id),
    kind text NOT NULL CHECK (length(kind) BETWEEN 1 AND 24),
    reference text NOT NULL CHECK (length(reference) BETWEEN 1 AND 256),
    sequence bigint,
    is_removed boolean NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL DEFAULT now(),
    changed_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (migration_id, host_id, kind, reference)
);
CREATE INDEX ledger_left_idx ON ledger (migration_id) WHERE NOT is_removed;
