deals.fund_id,
case
    when
        pg_typeof(deals.fund_id)
        <> all(cast('{smallint, integer, bigint, uuid}' as regtype[]))
        then cast(deals.fund_id as text) collate "C"
end
