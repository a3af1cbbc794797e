-- Where the log begins now that old events are dropped: no event from `floor_seq` on is missing because of its age. It
-- is raised before anything is dropped, so it may promise too little for a moment, never too much.

ALTER TABLE sequencer ADD COLUMN floor_seq bigint NOT NULL DEFAULT 1;
