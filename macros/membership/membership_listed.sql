{#-
    The offenders of a check as a sample, as the CTE `listed(row_total, failures, sample)`; no comma
    at the end. Expects the CTE offenders(status, entity, source_id, target_id, message).
    membership_listed('$2') → listed as (...)
    most: the number of offenders that are listed, as SQL
-#}
{%- macro membership_listed(most) -%}
numbered_offenders as (
    select
        offenders.*,
        row_number() over (
            order by
                offenders.status asc,
                offenders.entity asc,
                offenders.source_id asc,
                offenders.message asc
        ) as place
    from offenders
),

listed as (
    select
        count(*) as row_total,
        coalesce(
            jsonb_agg(
                jsonb_build_object(
                    'status', numbered_offenders.status,
                    'message', numbered_offenders.message,
                    'entity', numbered_offenders.entity,
                    'source_id', numbered_offenders.source_id,
                    'target_id', numbered_offenders.target_id
                )
                order by numbered_offenders.place
            ) filter (where numbered_offenders.place <= cast({{ most }} as bigint)),
            '[]'
        ) as sample
    from numbered_offenders
)
{%- endmacro -%}
