select
    offer_code,
    {{ trueup.binary_text('round_name') }} as round_name
from {{ source('crm', 'offers') }}
