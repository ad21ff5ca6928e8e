-- Which server does what until when. Rows stay when a lease is over: they hold the epoch.
CREATE TABLE leases (
    name     text        COLLATE "C" PRIMARY KEY,
    holder   text        NOT NULL,
    url      text        NOT NULL,
    epoch    bigint      NOT NULL,
    until_at timestamptz NOT NULL
);
