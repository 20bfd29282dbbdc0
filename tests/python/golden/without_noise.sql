regexp_replace(
    deals.text_key,
    '( ('
    || 'round|rounds|funding|stage|phase|extension'
    || '|runde'
    || '))+$',
    ''
)
