-- Messages of feeds that wait for their subscriptions.
CREATE TABLE feed_messages (
    place        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project      uuid   NOT NULL,
    feed         uuid   NOT NULL,
    published_ms bigint NOT NULL,
    body         text   NOT NULL
);
CREATE INDEX feed_messages_by_feed ON feed_messages (project, feed, place);
-- How many wait in each feed.
CREATE TABLE feed_backlog (
    project  uuid   NOT NULL,
    feed     uuid   NOT NULL,
    messages bigint NOT NULL,
    bytes    bigint NOT NULL,
    PRIMARY KEY (project, feed)
);
-- Up to where each subscription has them, and why it does not get on.
CREATE TABLE feed_cursors (
    project      uuid   NOT NULL,
    subscription uuid   NOT NULL,
    place        bigint NOT NULL,
    reason       text,
    again_ms     bigint,
    PRIMARY KEY (project, subscription)
);
