-- How far the clock of a host is ahead of the coordinator's that it reported to, in ms; NULL: its agent
-- has not told.
ALTER TABLE host ADD COLUMN clock_offset_ms bigint;
