-- Where the item lay in the list on the table when the verdict on it was given: what steers the dials.
ALTER TABLE {events} ADD COLUMN offered text COLLATE "C";
-- As for the other columns: no copies of values in pg_statistic.
ALTER TABLE {events} ALTER COLUMN offered SET STATISTICS 0;
