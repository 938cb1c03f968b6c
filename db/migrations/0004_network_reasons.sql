-- Why no VIF can be put on it, such as a bridge that the host does not have; empty: it can.
ALTER TABLE network ADD COLUMN why_not text NOT NULL DEFAULT '' CHECK (length(why_not) <= 160);
