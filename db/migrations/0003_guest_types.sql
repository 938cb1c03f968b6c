-- What tells whether a host can run a VM and send its memory while it runs. Empty: the host's agent
-- does not tell.

-- The objects of protocol/inventory.h, inventory_guest_type.
ALTER TABLE host ADD COLUMN guest_types jsonb NOT NULL DEFAULT '[]'
    CHECK (jsonb_typeof(guest_types) = 'array');

-- features: the CPU that it was told it has; why_not: why it cannot be moved at all.
ALTER TABLE vm
    ADD COLUMN type text NOT NULL DEFAULT '' CHECK (length(type) <= 8),
    ADD COLUMN features text NOT NULL DEFAULT '' CHECK (length(features) <= 1000),
    ADD COLUMN why_not text NOT NULL DEFAULT '' CHECK (length(why_not) <= 160);
