-- Events in the order they were appended. A row is never changed, except that forgetting something
-- also blanks the message it was said in where other events quote the same message (erased = TRUE).
-- Text is compared byte for byte, whatever the database's collation.
CREATE TABLE {events} (
    seq        bigint           GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id         text COLLATE "C" NOT NULL UNIQUE,
    "user"     text COLLATE "C" NOT NULL,
    time       double precision NOT NULL,
    kind       text COLLATE "C" NOT NULL,
    item       text COLLATE "C",
    value      double precision,
    attribute  text COLLATE "C",
    term       text COLLATE "C",
    polarity   smallint,
    scope      text COLLATE "C",
    target     text COLLATE "C" REFERENCES {events} (id),
    thread     text COLLATE "C",
    source     text COLLATE "C" NOT NULL,
    message    text COLLATE "C",
    confidence double precision NOT NULL,
    erased     boolean          NOT NULL DEFAULT FALSE
);
CREATE INDEX profile_events_by_user ON {events} ("user", seq);
CREATE INDEX profile_events_by_target ON {events} (target) WHERE target IS NOT NULL;
-- ANALYZE would copy frequent values into the catalogue pg_statistic, where forgetting does not reach them.
ALTER TABLE {events}
    ALTER COLUMN seq SET STATISTICS 0,
    ALTER COLUMN id SET STATISTICS 0,
    ALTER COLUMN "user" SET STATISTICS 0,
    ALTER COLUMN time SET STATISTICS 0,
    ALTER COLUMN kind SET STATISTICS 0,
    ALTER COLUMN item SET STATISTICS 0,
    ALTER COLUMN value SET STATISTICS 0,
    ALTER COLUMN attribute SET STATISTICS 0,
    ALTER COLUMN term SET STATISTICS 0,
    ALTER COLUMN polarity SET STATISTICS 0,
    ALTER COLUMN scope SET STATISTICS 0,
    ALTER COLUMN target SET STATISTICS 0,
    ALTER COLUMN thread SET STATISTICS 0,
    ALTER COLUMN source SET STATISTICS 0,
    ALTER COLUMN message SET STATISTICS 0,
    ALTER COLUMN confidence SET STATISTICS 0,
    ALTER COLUMN erased SET STATISTICS 0;
