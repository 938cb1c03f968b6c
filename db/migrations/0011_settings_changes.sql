-- When what the source's agent is told while it copies was changed last: the sweep wakes its host again
-- for some seconds, since the wake-up of the change may have been lost.
ALTER TABLE migration ADD COLUMN settings_changed_at timestamptz;
CREATE INDEX migration_settings_idx ON migration (settings_changed_at) WHERE ended_at IS NULL;

CREATE FUNCTION migration_settings_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.settings_changed_at := clock_timestamp();
    RETURN NEW;
END $$;
CREATE TRIGGER migration_settings_changed BEFORE UPDATE OF settings_version ON migration FOR EACH ROW
    WHEN (OLD.settings_version <> NEW.settings_version) EXECUTE FUNCTION migration_settings_changed();
