select
    board_id,
    entry_no,
    workspace,
    {{ trueup.binary_text('phase') }} as phase,
    modified_at
from {{ source('crm', 'board_entries') }}
