-- The first schema. Names, object keys and ids are byte strings compared bytewise; times are
-- microseconds since 1970 in UTC; NULL is "not set".

CREATE TABLE settings (
    name  BLOB NOT NULL PRIMARY KEY,
    value BLOB NOT NULL
);

CREATE TABLE projects (
    id            BLOB   NOT NULL PRIMARY KEY,
    public_id     BLOB   NOT NULL UNIQUE,
    name          BLOB   NOT NULL UNIQUE,
    salt          BLOB   NOT NULL,
    bucket_limit  BIGINT,
    storage_limit BIGINT,
    segment_limit BIGINT,
    created_at    BIGINT NOT NULL,
    disabled_at   BIGINT
);

CREATE TABLE api_keys (
    head       BLOB   NOT NULL PRIMARY KEY,
    project    BLOB   NOT NULL,
    secret     BLOB   NOT NULL,
    name       BLOB   NOT NULL,
    version    BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    UNIQUE (project, name)
);

CREATE TABLE revocations (
    tail       BLOB   NOT NULL PRIMARY KEY,
    head       BLOB   NOT NULL,
    revoked_at BIGINT NOT NULL
);

CREATE TABLE buckets (
    project    BLOB   NOT NULL,
    name       BLOB   NOT NULL,
    user_agent BLOB,
    versioning BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (project, name)
);

CREATE TABLE objects (
    project               BLOB   NOT NULL,
    bucket                BLOB   NOT NULL,
    object_key            BLOB   NOT NULL,
    version               BIGINT NOT NULL,
    stream_id             BLOB   NOT NULL UNIQUE,
    status                BIGINT NOT NULL,
    multipart             BIGINT NOT NULL,
    created_at            BIGINT NOT NULL,
    expires_at            BIGINT,
    drop_pending_at       BIGINT,
    encryption            BIGINT NOT NULL,
    encrypted_metadata    BLOB,
    metadata_nonce        BLOB,
    metadata_key          BLOB,
    encrypted_etag        BLOB,
    segment_count         BIGINT NOT NULL,
    plain_size            BIGINT NOT NULL,
    encrypted_size        BIGINT NOT NULL,
    fixed_segment_size    BIGINT NOT NULL,
    PRIMARY KEY (project, bucket, object_key, version)
);

CREATE INDEX objects_drop_pending_at ON objects (drop_pending_at);
CREATE INDEX objects_expires_at ON objects (expires_at);

CREATE TABLE segments (
    stream_id           BLOB   NOT NULL,
    position            BIGINT NOT NULL,
    root_piece_id       BLOB,
    encrypted_key_nonce BLOB   NOT NULL,
    encrypted_key       BLOB   NOT NULL,
    encrypted_size      BIGINT NOT NULL,
    plain_size          BIGINT NOT NULL,
    plain_offset        BIGINT NOT NULL,
    scheme              BIGINT,
    pieces              BLOB,
    inline_data         BLOB,
    encrypted_etag      BLOB,
    created_at          BIGINT NOT NULL,
    expires_at          BIGINT,
    PRIMARY KEY (stream_id, position)
);

CREATE TABLE nodes (
    id             BLOB   NOT NULL PRIMARY KEY,
    chain          BLOB   NOT NULL,
    address        BLOB   NOT NULL,
    last_address   BLOB   NOT NULL,
    subnet         BLOB   NOT NULL,
    free_disk      BIGINT NOT NULL,
    version        BLOB   NOT NULL,
    state          BIGINT NOT NULL,
    created_at     BIGINT NOT NULL,
    last_contact   BIGINT,
    last_failure   BIGINT
);

CREATE TABLE settlements (
    node        BLOB   NOT NULL,
    window_hour BIGINT NOT NULL,
    action      BIGINT NOT NULL,
    amount      BIGINT NOT NULL,
    PRIMARY KEY (node, window_hour, action)
);
