select * from {{ ref('trueup', 'stage_aliases') }}
union all
select * from {{ ref('crm_stage_aliases') }}
