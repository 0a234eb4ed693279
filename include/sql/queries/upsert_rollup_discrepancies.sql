-- Enter mismatches of a series with its finer candles; one that was settled and is back counts
-- as detected anew.
INSERT INTO market.discrepancies AS d
    (series_id, open_time, kind, other, field, stored_value, other_value, difference_pct, state,
     explanation, dag_run_id)
SELECT %(series_id)s, u.open_time, 'rollup', %(other)s, u.field, u.stored_value, u.other_value,
       100 * (u.other_value - u.stored_value) / nullif(u.stored_value, 0),
       CASE WHEN u.explanation IS NULL THEN 'open' ELSE 'explained' END, u.explanation, %(dag_run_id)s
FROM unnest(%(open_times)s::timestamptz[], %(fields)s::text[], %(stored_values)s::numeric[],
            %(other_values)s::numeric[], %(explanations)s::text[])
     AS u (open_time, field, stored_value, other_value, explanation)
ORDER BY u.open_time, u.field
ON CONFLICT (series_id, open_time, kind, other, field) DO UPDATE
SET stored_value = excluded.stored_value, other_value = excluded.other_value,
    difference_pct = excluded.difference_pct, state = excluded.state,
    explanation = excluded.explanation, seen_at = excluded.seen_at,
    detected_at = CASE WHEN d.state = 'settled' THEN excluded.detected_at ELSE d.detected_at END,
    dag_run_id = CASE WHEN d.state = 'settled' THEN excluded.dag_run_id ELSE d.dag_run_id END
