-- What comes of telling a relay belongs to the claim under which that was done: of an older one it says nothing any more.
-- Workers of the release before neither number claims nor look; what they note counts as before.
ALTER TABLE crawl_notice
    -- The number of the last claim, and when it was made.
    ADD COLUMN claim bigint NOT NULL DEFAULT 0,
    ADD COLUMN claimed_at timestamptz;
COMMENT ON COLUMN crawl_notice.told_at IS 'when somebody set out to tell it, the last time that it accepted';
