-- Where the item lay in the list on the table when the verdict on it was given: what steers the dials.
ALTER TABLE profile_events ADD COLUMN offered TEXT;
