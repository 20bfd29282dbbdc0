{#-
    The words of a check, and its answer: the end of its statement. Expects the CTE judged(status,
    outcome, arguments, expected, found, rows, sample); outcome tells apart what has the same
    status, else it is empty.
    membership_answer('policies') → words (...) as (...), final as (...) select * from final;
-#}
{%- macro membership_answer(code) -%}
words (status, outcome, name, message, remedy) as (
    values
    {%- set name, outcomes, remedy = trueup.membership_words()[code] %}
    {%- for outcome, message in outcomes.items() %}
    {%- set parts = outcome.split(' ') %}
    (
        '{{ parts[0] }}',
        '{{ parts[1] if parts | length > 1 }}',
        '{{ name }}',
        {{ trueup.long_literal(message) }},
        {{ trueup.long_literal(remedy) if parts[0] in ['warn', 'fail'] else 'cast(null as text)' }}
    ){{ ',' if not loop.last }}
    {%- endfor %}
),

final as (
    select
        'membership' as area,
        '{{ code }}' as code,
        words.name,
        '' as subject,
        judged.status,
        format(words.message, variadic judged.arguments) as message,
        judged.expected,
        judged.found,
        words.remedy,
        judged.rows,
        judged.sample
    from judged
    left join words
        on
            judged.status = words.status
            and judged.outcome = words.outcome
)

select * from final;
{%- endmacro -%}
