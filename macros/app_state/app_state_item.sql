{#-
    The item that a row came from, of its columns and of `extra`. A column that was changed since
    gives its present value.
    app_state_item('orgs_printed') → (printed - omitted keys) || extra || kept values

    rows: a relation with printed (see app_state_printed) and extra (see app_state_extra)
-#}
{%- macro app_state_item(rows) -%}
case
    when not {{ rows }}.extra ? '_trueup' then {{ rows }}.printed || {{ rows }}.extra
    else (
        {{ rows }}.printed - array(
            select omitted.key
            from
                jsonb_array_elements_text({{ rows }}.extra #> '{_trueup,omit}')
                    as omitted (key)
        )
    )
    || ({{ rows }}.extra - '_trueup')
    || (
        select
            coalesce(
                jsonb_object_agg(
                    kept.name,
                    case
                        when
                            coalesce({{ rows }}.printed -> (kept.value ->> 'of'), 'null')
                            = kept.value -> 'was'
                            then kept.value -> 'is'
                        else {{ rows }}.printed -> (kept.value ->> 'of')
                    end
                ),
                '{}'
            ) as kept
        from jsonb_each({{ rows }}.extra #> '{_trueup,kept}') as kept (name, value)
    )
end
{%- endmacro -%}
