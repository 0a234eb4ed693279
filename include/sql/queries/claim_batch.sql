-- Claim a window of work: a new ledger row, or the next attempt at an old one. Every claim
-- draws a new fencing token, greater than any before (drawn under the row's lock); only the
-- holder of the latest one may publish.
INSERT INTO market.batches (series_id, window_start, window_end, purpose, state, fencing_token, claimed_by)
VALUES (%(series_id)s, %(window_start)s, %(window_end)s, %(purpose)s, 'running',
        nextval('market.fencing_tokens'), %(claimed_by)s)
ON CONFLICT (series_id, window_start, window_end) DO UPDATE
SET purpose = excluded.purpose, state = 'running', attempt = batches.attempt + 1,
    fencing_token = nextval('market.fencing_tokens'), claimed_by = excluded.claimed_by,
    claimed_at = clock_timestamp(), finished_at = NULL, error = NULL
RETURNING batch_id, fencing_token
