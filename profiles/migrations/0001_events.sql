-- Events in the order they were appended. A row is never changed, except that forgetting something
-- also blanks the message it was said in where other events quote the same message (erased = 1).
CREATE TABLE profile_events (
    seq        INTEGER PRIMARY KEY AUTOINCREMENT,
    id         TEXT    NOT NULL UNIQUE,
    user       TEXT    NOT NULL,
    time       REAL    NOT NULL,
    kind       TEXT    NOT NULL,
    item       TEXT,
    value      REAL,
    attribute  TEXT,
    term       TEXT,
    polarity   INTEGER,
    scope      TEXT,
    target     TEXT    REFERENCES profile_events (id),
    thread     TEXT,
    source     TEXT    NOT NULL,
    message    TEXT,
    confidence REAL    NOT NULL,
    erased     INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX profile_events_by_user ON profile_events (user, seq);
CREATE INDEX profile_events_by_target ON profile_events (target) WHERE target IS NOT NULL;
