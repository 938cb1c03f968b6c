-- Identities: pools, the hosts in them, host certificates, API tokens, one-time enrolments.
-- Secrets are stored as SHA-256 in lower-case hex only.

CREATE TABLE pool (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    name text NOT NULL UNIQUE CHECK (length(name) BETWEEN 1 AND 128),
    created_at timestamptz NOT NULL DEFAULT now()
);

-- enrolling: expected, has no certificate yet; enabled: has enrolled; revoked: locked out until it
-- enrols again.
CREATE TABLE host (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    pool_id uuid NOT NULL REFERENCES pool (id),
    name text NOT NULL UNIQUE CHECK (length(name) BETWEEN 1 AND 128),
    state text NOT NULL DEFAULT 'enrolling'
        CONSTRAINT host_state_check CHECK (state IN ('enrolling', 'enabled', 'revoked')),
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX host_pool_idx ON host (pool_id);

CREATE TABLE host_certificate (
    serial text PRIMARY KEY CHECK (serial ~ '^[0-9a-f]{1,64}$'),
    host_id uuid NOT NULL REFERENCES host (id) ON DELETE CASCADE,
    pem text NOT NULL,
    issued_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL,
    revoked_at timestamptz
);
CREATE INDEX host_certificate_host_idx ON host_certificate (host_id);

CREATE TABLE api_token (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    name text NOT NULL CHECK (length(name) BETWEEN 1 AND 128),
    role text NOT NULL CHECK (role IN ('viewer', 'operator', 'admin')),
    hash text NOT NULL UNIQUE CHECK (hash ~ '^[0-9a-f]{64}$'),
    created_at timestamptz NOT NULL DEFAULT now(),
    revoked_at timestamptz
);
-- A name can be used again once its token is revoked; the log keeps naming who did what.
CREATE UNIQUE INDEX api_token_name_idx ON api_token (name) WHERE revoked_at IS NULL;

-- used_csr_hash and serial make the exchange repeatable: the same token with the same request gets
-- the same certificate again when the first answer was lost on the way.
CREATE TABLE enrolment (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    host_id uuid NOT NULL REFERENCES host (id) ON DELETE CASCADE,
    hash text NOT NULL UNIQUE CHECK (hash ~ '^[0-9a-f]{64}$'),
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL,
    used_at timestamptz,
    used_csr_hash text,
    serial text REFERENCES host_certificate (serial) ON DELETE SET NULL
);
CREATE INDEX enrolment_host_idx ON enrolment (host_id);
