-- When the operator disqualified a node. Of earlier ones only the earliest possible time is known.

ALTER TABLE nodes ADD COLUMN disqualified_at BIGINT;

UPDATE nodes SET disqualified_at = created_at WHERE state <> 0;
