-- Control of migrations (order, speed, pause, the moment of the switch-over, retries), link addresses
-- by name, VLANs, and the times from which later moves between the same hosts are foretold.

ALTER TABLE migration DROP CONSTRAINT migration_state_check;
ALTER TABLE migration ADD CONSTRAINT migration_state_check CHECK (state IN ('queued', 'preparing',
    'transferring', 'ready', 'handing_off', 'cleaning', 'aborting', 'succeeded', 'failed',
    'cancelled'));

-- The policy of coordinator/domain/policy.h, and what was asked for since.
ALTER TABLE migration
    ADD COLUMN priority integer NOT NULL DEFAULT 0 CHECK (priority BETWEEN -100 AND 100),
    ADD COLUMN retries integer NOT NULL DEFAULT 0 CHECK (retries >= 0),
    ADD COLUMN retries_used integer NOT NULL DEFAULT 0 CHECK (retries_used >= 0),
    ADD COLUMN not_before timestamptz,
    ADD COLUMN stall_timeout_s integer NOT NULL DEFAULT 600 CHECK (stall_timeout_s > 0),
    ADD COLUMN bandwidth_bytes_per_s bigint NOT NULL DEFAULT 0 CHECK (bandwidth_bytes_per_s >= 0),
    ADD COLUMN network text NOT NULL DEFAULT '' CHECK (length(network) <= 128),
    ADD COLUMN switchover text NOT NULL DEFAULT 'automatic'
        CHECK (switchover IN ('automatic', 'manual', 'window')),
    ADD COLUMN switchover_from timestamptz,
    ADD COLUMN switchover_until timestamptz,
    ADD COLUMN is_switchover_requested boolean NOT NULL DEFAULT false,
    ADD COLUMN is_copy_paused boolean NOT NULL DEFAULT false;

-- What the source's agent is told while it copies (transfer_settings of protocol/agent_api.h). The
-- version grows with each change; 0: all as in the spec.
ALTER TABLE migration
    ADD COLUMN settings_version bigint NOT NULL DEFAULT 0 CHECK (settings_version >= 0),
    ADD COLUMN is_switchover_held boolean NOT NULL DEFAULT false;
UPDATE migration SET bandwidth_bytes_per_s = coalesce((spec ->> 'bandwidth_bytes_per_s')::bigint, 0);

-- Since when it is in its state.
ALTER TABLE migration ADD COLUMN state_since timestamptz NOT NULL DEFAULT now();

-- When its parts began and ended first; was_slowed: by a cap, a pause or a second handoff, so that its
-- times say nothing of the hosts.
ALTER TABLE migration
    ADD COLUMN copy_began_at timestamptz,
    ADD COLUMN copy_ended_at timestamptz,
    ADD COLUMN handoff_began_at timestamptz,
    ADD COLUMN handoff_ended_at timestamptz,
    ADD COLUMN was_slowed boolean NOT NULL DEFAULT false;
CREATE INDEX migration_pair_idx ON migration (source_host_id, destination_host_id, sequence)
    WHERE state = 'succeeded';

DROP INDEX migration_queue_idx;
CREATE INDEX migration_queue_idx ON migration (priority DESC, sequence) WHERE state = 'queued';

-- moved_at: when bytes were copied or a mirror began anew last.
ALTER TABLE migration_progress ADD COLUMN moved_at timestamptz NOT NULL DEFAULT now();

-- Further addresses of the host's link by name: inventory_link of protocol/inventory.h.
ALTER TABLE host ADD COLUMN links jsonb NOT NULL DEFAULT '[]' CHECK (jsonb_typeof(links) = 'array');

-- NULL: untagged, or the agent does not tell.
ALTER TABLE network ADD COLUMN vlan integer CHECK (vlan BETWEEN 1 AND 4094);
