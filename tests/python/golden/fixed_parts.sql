btrim(
    regexp_replace(
        regexp_replace(deals.text_key, '[^ ]{3,}', '', 'g'),
        ' +',
        ' ',
        'g'
    )
)
|| ' ' || regexp_replace(deals.text_key, '[a-z ]+', '', 'g')
