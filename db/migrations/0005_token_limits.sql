-- Tokens that end by themselves or see some pools only, and the audit log.

-- pool_ids: NULL sees everything; ids of pools that went see nothing. last_used_at is kept coarsely.
ALTER TABLE api_token
    ADD COLUMN pool_ids uuid[] CHECK (cardinality(pool_ids) BETWEEN 1 AND 32),
    ADD COLUMN expires_at timestamptz,
    ADD COLUMN last_used_at timestamptz;

-- Who changed what, written in the transaction of the change. actor_kind: token (of the API), host
-- (an agent), cli (the coordinator's command line), database (audit_forget). The objects and the
-- token may be gone, so nothing is a foreign key. before and after hold no secret.
CREATE TABLE audit (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    sequence bigint NOT NULL GENERATED ALWAYS AS IDENTITY UNIQUE,
    at timestamptz NOT NULL DEFAULT now(),
    actor_kind text NOT NULL CHECK (actor_kind IN ('token', 'host', 'cli', 'database')),
    actor_name text NOT NULL CHECK (length(actor_name) <= 128),
    token_id uuid,
    request_id text CHECK (length(request_id) <= 64),
    operation text NOT NULL CHECK (length(operation) BETWEEN 1 AND 160),
    object_kind text NOT NULL CHECK (length(object_kind) BETWEEN 1 AND 32),
    object_id text NOT NULL CHECK (length(object_id) <= 128),
    before jsonb,
    after jsonb,
    status integer CHECK (status BETWEEN 200 AND 399)
);
CREATE INDEX audit_object_idx ON audit (object_id, sequence);
CREATE INDEX audit_actor_idx ON audit (actor_name, sequence);
CREATE INDEX audit_at_idx ON audit (at);

CREATE FUNCTION audit_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' AND current_setting('crosspool.audit_forget', true) = 'yes' THEN
        RETURN NULL;
    END IF;
    RAISE EXCEPTION 'the audit log is append-only; audit_forget() removes what is old';
END $$;
CREATE TRIGGER audit_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit
    FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse();

-- The only way to remove rows: those older than `keep`, which is 30 days or longer. Leaves a row that
-- tells of it; returns how many went.
CREATE FUNCTION audit_forget(keep interval) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    removed bigint;
BEGIN
    IF keep IS NULL OR keep < interval '30 days' THEN
        RAISE EXCEPTION 'audit_forget: expected 30 days or longer, not %', keep;
    END IF;
    PERFORM set_config('crosspool.audit_forget', 'yes', true);
    DELETE FROM audit WHERE at < now() - keep;
    GET DIAGNOSTICS removed = ROW_COUNT;
    PERFORM set_config('crosspool.audit_forget', '', true);
    INSERT INTO audit (actor_kind, actor_name, operation, object_kind, object_id, after)
    VALUES ('database', session_user, 'audit_forget', 'audit', '',
        jsonb_build_object('removed', removed, 'older_than', keep::text));
    RETURN removed;
END $$;
