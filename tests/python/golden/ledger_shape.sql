select
    cast(null as uuid) as run_id,
    cast(null as bigint) as batch_id,
    cast(null as integer) as attempts,
    cast(null as text[]) as row_keys
where false
