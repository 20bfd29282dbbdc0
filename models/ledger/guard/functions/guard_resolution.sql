-- What a value means, by the keys that were installed: the same resolver as in the models.
create or replace function {{ this.include(database=false) }}(vocabulary text, raw_value text)
returns table (resolution text, canonical_value text)
language sql
stable
as $function$
with observed_values as (
    select
        $1 as vocabulary,
        $2 as raw_value
),

vocabulary_keys as (
    select * from {{ ref('guard_keys') }}
),

{{ resolve('observed_values') }}

select
    resolved_values.resolution,
    resolved_values.canonical_value
from resolved_values
$function$;
