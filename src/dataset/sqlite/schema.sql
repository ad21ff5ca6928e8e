-- One namespace of one room. `r<line>` and `g<line>` hold the rows of a line and the rows it has removed.

CREATE TABLE property (name TEXT PRIMARY KEY, value) WITHOUT ROWID;
INSERT INTO property VALUES ('next_column', 1);

-- The main branch is 0 and has no row.
CREATE TABLE branch (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE,
    parent INTEGER NOT NULL,
    created_at INTEGER NOT NULL
);

-- The history of a table on one branch. Below `fork_version` and up to row `fork_row` it is its parent's.
CREATE TABLE line (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    parent INTEGER,
    fork_version INTEGER NOT NULL DEFAULT 0,
    fork_row INTEGER NOT NULL DEFAULT 0,
    -- Numbers of the columns that `r<id>` has, as JSON; NULL while there is no `r<id>`.
    columns TEXT
);
CREATE INDEX line_parent ON line (parent) WHERE parent IS NOT NULL;

CREATE TABLE head (
    branch INTEGER NOT NULL,
    name TEXT NOT NULL,
    line INTEGER NOT NULL UNIQUE,
    PRIMARY KEY (branch, name)
) WITHOUT ROWID;

-- The rows of a version are those up to `last_row` that are not removed up to it.
CREATE TABLE version (
    line INTEGER NOT NULL,
    version INTEGER NOT NULL,
    at INTEGER NOT NULL,
    operation TEXT NOT NULL,
    rows INTEGER NOT NULL,
    last_row INTEGER NOT NULL,
    live INTEGER NOT NULL,
    schema INTEGER NOT NULL,
    PRIMARY KEY (line, version)
) WITHOUT ROWID;

-- By the hash of its content. `columns` are the numbers of the fields' columns, as JSON.
CREATE TABLE schema (id INTEGER PRIMARY KEY, arrow BLOB NOT NULL, columns TEXT NOT NULL);

CREATE TABLE tag (
    line INTEGER NOT NULL,
    name TEXT NOT NULL,
    version INTEGER NOT NULL,
    PRIMARY KEY (line, name)
) WITHOUT ROWID;

-- Copies of rows by column, for scans. `row_ids` is NULL where the rows are without a gap.
CREATE TABLE segment (
    id INTEGER PRIMARY KEY,
    line INTEGER NOT NULL,
    first_row INTEGER NOT NULL,
    last_row INTEGER NOT NULL,
    row_ids BLOB
);
CREATE UNIQUE INDEX segment_place ON segment (line, last_row);
CREATE TABLE segment_column (
    segment INTEGER NOT NULL,
    number INTEGER NOT NULL,
    arrow BLOB NOT NULL,
    UNIQUE (segment, number)
);

CREATE TABLE table_index (
    line INTEGER NOT NULL,
    name TEXT NOT NULL,
    kind TEXT NOT NULL,
    columns TEXT NOT NULL,
    settings TEXT NOT NULL,
    PRIMARY KEY (line, name)
) WITHOUT ROWID;
