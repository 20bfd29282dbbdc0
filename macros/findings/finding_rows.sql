{#-
    Words for the findings of a statement, as the CTEs `words` and `final`; no comma at the end.
    The CTE `judged` comes before them, with one row per finding: code, subject, status, arguments
    (text[], what stands in the sentences), expected, found, rows and sample.

    area:  server, table, ...
    words: the system's list of [code, name, message, remedy]. message and remedy are read by
           format(): %1$s is the first argument, %2$I the second as an identifier, %3$L the third as
           a literal, %% a percent sign. An argument of %I must not be NULL. remedy: none if there
           is nothing to do; its first line is a sentence, the others are commands.

    finding_rows('server', server_words()) → words (...) as (...), final as (...)

    Findings come in the order of the list. A finding without words has no message, and the runner
    makes an error of it.
-#}
{%- macro finding_rows(area, words) -%}
words (place, code, name, message, remedy) as (
    values
    {%- for code, name, message, remedy in words %}
    (
        {{ loop.index }},
        {{ trueup.literal(code) }},
        {{ trueup.literal(name) }},
        {{ trueup.long_literal(message) }},
        {{ trueup.long_literal(remedy) if remedy else 'cast(null as text)' }}
    ){{ ',' if not loop.last }}
    {%- endfor %}
),

final as (
    select
        {{ trueup.literal(area) }} as area,
        judged.code,
        words.name,
        judged.subject,
        judged.status,
        format(words.message, variadic judged.arguments) as message,
        judged.expected,
        judged.found,
        format(words.remedy, variadic judged.arguments) as remedy,
        judged.rows,
        coalesce(judged.sample, '[]') as sample
    from judged
    left join words on judged.code = words.code
    order by
        words.place asc,
        judged.subject asc,
        judged.arguments asc
)
{%- endmacro -%}
