-- Bytes that projects were allowed to fetch, for each month (12 * year + month, January being 0).
-- Only satellites that limit them count them.

CREATE TABLE project_bandwidth (
    project BLOB   NOT NULL,
    month   BIGINT NOT NULL,
    amount  BIGINT NOT NULL,
    PRIMARY KEY (project, month)
);
