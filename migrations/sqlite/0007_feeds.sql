-- Messages of feeds that wait for their subscriptions.
CREATE TABLE feed_messages (
    place        INTEGER PRIMARY KEY AUTOINCREMENT,
    project      BLOB    NOT NULL,
    feed         BLOB    NOT NULL,
    published_ms INTEGER NOT NULL,
    body         TEXT    NOT NULL
) STRICT;
CREATE INDEX feed_messages_by_feed ON feed_messages (project, feed, place);
-- How many wait in each feed.
CREATE TABLE feed_backlog (
    project  BLOB    NOT NULL,
    feed     BLOB    NOT NULL,
    messages INTEGER NOT NULL,
    bytes    INTEGER NOT NULL,
    PRIMARY KEY (project, feed)
) STRICT, WITHOUT ROWID;
-- Up to where each subscription has them, and why it does not get on.
CREATE TABLE feed_cursors (
    project      BLOB    NOT NULL,
    subscription BLOB    NOT NULL,
    place        INTEGER NOT NULL,
    reason       TEXT,
    again_ms     INTEGER,
    PRIMARY KEY (project, subscription)
) STRICT, WITHOUT ROWID;
