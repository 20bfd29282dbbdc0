{#-
    The named statement of a check: every field of every record is what the row holds.
    membership_field_values() → -- name: membership__field_values(report, most) ...

    Values are compared as the column has them: a date column knows no hour. What a record does not
    say is not compared; the tier is the check of tier_distribution.
-#}
{%- macro membership_field_values() -%}
-- name: membership__field_values(report, most)
-- Each field of each record is what the row holds, compared as the type of its column.
with {{ trueup.membership_known_tiers() }},

{% for entity in ['member', 'event', 'registration'] -%}
{%- set fields = trueup.membership_fields(entity) -%}
{%- set tables = trueup.membership_settings().tables -%}
{{ entity }}_rows as (
    with {{ trueup.membership_records(entity, '$1') | indent(4) }},

    {{ trueup.membership_wanted(entity) | indent(4) }}

    select * from wanted_rows
),

{{ entity }}_pairs as {{ trueup.computed_once() }} (
    select
        {{ entity }}_rows.entity,
        {{ entity }}_rows.source_id,
        {{ entity }}_rows.target_id,
        {{ entity }}_rows.record,
        to_jsonb(application) as found_row,
        to_jsonb(
            jsonb_populate_record(
                application,
                {{ entity }}_rows.wanted
                {%- if 'tier' in fields %} - {{ trueup.literal(tables[entity].tier) }}{% endif %}
            )
        ) as wanted_row
    from {{ entity }}_rows
    inner join {{ trueup.membership_table(entity) }} as application
        on
            {{ entity }}_rows.target_id
            = cast({{ trueup.membership_column(entity, 'id', 'application') }} as text)
),

{{ entity }}_fields as (
    select
        {{ entity }}_pairs.entity,
        {{ entity }}_pairs.source_id,
        {{ entity }}_pairs.target_id,
        wanted.column_name,
        wanted.column_value as wanted_value,
        {{ entity }}_pairs.found_row ->> wanted.column_name as found_value
    from {{ entity }}_pairs
    cross join
        lateral jsonb_each_text(
            {{ entity }}_pairs.wanted_row
        ) as wanted (column_name, column_value)
    where {{ entity }}_pairs.wanted_row <> {{ entity }}_pairs.found_row
),

{{ entity }}_offenders as (
    select
        {{ entity }}_fields.entity,
        {{ entity }}_fields.source_id,
        {{ entity }}_fields.target_id,
        {{ entity }}_fields.column_name || ' is '
        || coalesce({{ entity }}_fields.found_value, 'empty') || ', the bundle says '
        || coalesce({{ entity }}_fields.wanted_value, 'nothing') as message
    from {{ entity }}_fields
    where {{ entity }}_fields.wanted_value is distinct from {{ entity }}_fields.found_value
    {%- for field, kind in fields.items() if kind in ['time', 'status', 'id'] %}
    union all
    select
        {{ entity }}_rows.entity,
        {{ entity }}_rows.source_id,
        {{ entity }}_rows.target_id,
        '{{ field }} of the bundle is no {{ {"time": "date", "id": "id"}.get(kind, "status") }}: '
        || ({{ entity }}_rows.record ->> '{{ field }}') as message
    from {{ entity }}_rows
    where
        {{ entity }}_rows.record ->> '{{ field }}' is not null
        and not {{ entity }}_rows.wanted ? {{ trueup.literal(tables[entity][field]) }}
    {%- endfor %}
),

{% endfor -%}
all_offenders as (
    {%- for entity in ['member', 'event', 'registration'] %}
    select * from {{ entity }}_offenders
    {%- if not loop.last %}
    union all
    {%- endif %}
    {%- endfor %}
),

offenders as (
    select
        'fail' as status,
        all_offenders.entity,
        all_offenders.source_id,
        all_offenders.target_id,
        all_offenders.entity || ' ' || all_offenders.source_id || ': '
        || string_agg(all_offenders.message, '; ' order by all_offenders.message) as message
    from all_offenders
    group by
        all_offenders.entity,
        all_offenders.source_id,
        all_offenders.target_id
),

record_counts as (
    {%- for entity in ['member', 'event', 'registration'] %}
    select count(*) as record_total
    from {{ entity }}_pairs
    {%- if not loop.last %}
    union all
    {%- endif %}
    {%- endfor %}
),

totals as (
    select cast(sum(record_counts.record_total) as bigint) as record_total
    from record_counts
),

{{ trueup.membership_listed('$2') }},

judged as (
    select
        case
            when listed.row_total > 0 then 'fail'
            when totals.record_total = 0 then 'info'
            else 'ok'
        end as status,
        '' as outcome,
        array[cast(totals.record_total as text), cast(listed.row_total as text)] as arguments,
        cast(totals.record_total as text) as expected,
        cast(totals.record_total - listed.row_total as text) as found,
        listed.row_total as rows,
        listed.sample
    from totals
    cross join listed
),

{{ trueup.membership_answer('field_values') }}
{%- endmacro -%}
