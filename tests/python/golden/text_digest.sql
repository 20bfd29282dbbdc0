encode(
    sha256(convert_to(deals.note, 'UTF8')),
    'hex'
)
