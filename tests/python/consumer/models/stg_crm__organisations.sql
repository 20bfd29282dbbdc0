select
    org_uid,
    workspace,
    display_name,
    {{ trueup.binary_text('funding_stage') }} as funding_stage,
    modified_at
from {{ source('crm', 'organisations') }}
