btrim(
    regexp_replace(
        -- doubled spaces give every word a separate space on either side
        regexp_replace(
            ' ' || replace(deals.text_key, ' ', '  ') || ' ',
            ' [a-z]{4,} ',
            ' ',
            'g'
        ),
        ' +',
        ' ',
        'g'
    )
)
