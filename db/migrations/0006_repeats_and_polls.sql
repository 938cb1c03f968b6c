-- Answers that were given under an Idempotency-Key, and notifications of what changed.

-- Written in the transaction of the change that the answer tells of. request_hash and sealed_body are
-- made with the caller's token, of which the database holds only a hash: who reads this table reads
-- no answer. sealed_body is NULL for an answer without a body.
CREATE TABLE idempotency (
    token_id uuid NOT NULL REFERENCES api_token (id) ON DELETE CASCADE,
    key text NOT NULL CHECK (length(key) BETWEEN 1 AND 128),
    request_hash text NOT NULL CHECK (request_hash ~ '^[0-9a-f]{64}$'),
    status integer NOT NULL CHECK (status BETWEEN 200 AND 499),
    content_type text NOT NULL CHECK (length(content_type) <= 63),
    location text NOT NULL CHECK (length(location) <= 255),
    retry_after_s integer NOT NULL CHECK (retry_after_s >= 0),
    sealed_body text,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL DEFAULT now() + interval '24 hours',
    PRIMARY KEY (token_id, key)
);
CREATE INDEX idempotency_expiry_idx ON idempotency (expires_at);

-- What a coordinator keeps in memory it forgets by these topics. PostgreSQL sends a topic once for
-- each transaction, with its commit. A session that has set crosspool.tell_changes is also told
-- itself, by a notice with the SQLSTATE CPCHG (coordinator/db/db_change.c).
CREATE FUNCTION resource_tell(topic text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('resource_changed', topic);
    IF current_setting('crosspool.tell_changes', true) = 'on' THEN
        RAISE INFO '%', topic USING ERRCODE = 'CPCHG';
    END IF;
END $$;

-- The topic is the trigger's argument.
CREATE FUNCTION resource_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM resource_tell(TG_ARGV[0]);
    RETURN NULL;
END $$;

-- Each migration by itself; many at once as "migration *", which means all.
CREATE FUNCTION migration_tell(ids uuid[]) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF cardinality(ids) > 16 THEN
        PERFORM resource_tell('migration *');
    ELSE
        PERFORM resource_tell('migration ' || id) FROM unnest(ids) AS id;
    END IF;
END $$;

CREATE FUNCTION migration_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM migration_tell(ARRAY(SELECT DISTINCT id FROM changed));
    RETURN NULL;
END $$;

CREATE FUNCTION migration_part_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM migration_tell(ARRAY(SELECT DISTINCT migration_id FROM changed));
    RETURN NULL;
END $$;

CREATE TRIGGER migration_inserted AFTER INSERT ON migration
    REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION migration_changed();
CREATE TRIGGER migration_updated AFTER UPDATE ON migration
    REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION migration_changed();
CREATE TRIGGER migration_deleted AFTER DELETE ON migration
    REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION migration_changed();

CREATE TRIGGER migration_progress_inserted AFTER INSERT ON migration_progress
    REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION migration_part_changed();
CREATE TRIGGER migration_progress_updated AFTER UPDATE ON migration_progress
    REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION migration_part_changed();
CREATE TRIGGER migration_progress_deleted AFTER DELETE ON migration_progress
    REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION migration_part_changed();

CREATE TRIGGER step_inserted AFTER INSERT ON step
    REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION migration_part_changed();
CREATE TRIGGER step_updated AFTER UPDATE ON step
    REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION migration_part_changed();
CREATE TRIGGER step_deleted AFTER DELETE ON step
    REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION migration_part_changed();

-- A host is heard of every second or so; it changes for others when it is heard of again after a
-- silence (host_lost_after_s is at least 5), or when the clock went back.
CREATE TRIGGER host_updated AFTER UPDATE ON host FOR EACH ROW
    WHEN (old.name <> new.name OR old.pool_id <> new.pool_id
        OR (old.last_seen IS DISTINCT FROM new.last_seen
            AND (new.last_seen BETWEEN old.last_seen AND old.last_seen + interval '4 s') IS NOT TRUE))
    EXECUTE FUNCTION resource_changed('host');
CREATE TRIGGER pool_updated AFTER UPDATE ON pool FOR EACH ROW
    WHEN (old.name <> new.name) EXECUTE FUNCTION resource_changed('pool');

-- A new token needs no topic: who is not known is asked for each time. When one was used last says
-- nothing of what it may do.
CREATE TRIGGER api_token_updated AFTER UPDATE ON api_token FOR EACH ROW
    WHEN ((old.name, old.role, old.hash, old.pool_ids, old.expires_at, old.revoked_at)
        IS DISTINCT FROM (new.name, new.role, new.hash, new.pool_ids, new.expires_at, new.revoked_at))
    EXECUTE FUNCTION resource_changed('token');
CREATE TRIGGER api_token_deleted AFTER DELETE ON api_token FOR EACH ROW
    EXECUTE FUNCTION resource_changed('token');
