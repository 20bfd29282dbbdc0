-- Fills the sample. The numbers are read from trueup_sample.parameters and the hand-written
-- spellings from trueup_sample.base_spellings; the loader has filled both.
--
-- Nothing here depends on the clock, on random() or on the order in which rows are read, so the
-- same parameters make the same rows on every server. A row's spelling is chosen by a hash of
-- seed, column and the whole key: rows whose keys share their low bits are as messy as any others.

-- step: number functions
-- Stable, so that the planner knows how long the series below are and hashes the small side.
create function trueup_sample.parameter(name text) returns bigint
language sql
stable
as $$
    select
        case parameter.name
            when 'funds' then parameters.funds
            when 'companies' then parameters.companies
            when 'deals' then parameters.deals
            when 'investments' then parameters.investments
            when 'strategies' then parameters.strategies
            when 'baselines' then parameters.baselines
        end
    from trueup_sample.parameters
$$;

-- step: spellings
-- Every base spelling times every mangle that keeps its meaning. Which mangles fit:
--   any       what no reader would notice: case and white space; all but blank and null
--   stage     the rest, for spellings in ASCII that name one stage
--   no noise  a noise word behind a spelling that has none yet
-- upper() and lower() are told "C", so that the locale of the server has no say.
with mangled as (
    select
        base_spellings.spelling as base_spelling,
        base_spellings.resolution,
        base_spellings.canonical_value,
        mangles.mangle,
        mangles.raw_value,
        base_spellings.weight * mangles.weight as weight
    from trueup_sample.base_spellings
    cross join lateral (
        values
        ('none', 'all', 400, base_spellings.spelling),
        ('upper case', 'any', 36, upper(base_spellings.spelling collate "C")),
        ('lower case', 'any', 60, lower(base_spellings.spelling collate "C")),
        ('space before', 'any', 12, ' ' || base_spellings.spelling),
        ('space behind', 'any', 48, base_spellings.spelling || ' '),
        ('spaces around', 'any', 8, '  ' || base_spellings.spelling || '   '),
        ('double spaces', 'any', 10, replace(base_spellings.spelling, ' ', '  ')),
        ('no-break spaces', 'any', 10, replace(base_spellings.spelling, ' ', E'\u00a0')),
        ('no-break space behind', 'any', 10, base_spellings.spelling || E'\u00a0'),
        ('newline behind', 'any', 6, base_spellings.spelling || E'\n'),
        ('tabs', 'any', 4, replace(base_spellings.spelling, ' ', E'\t')),
        ('newlines', 'any', 4, replace(base_spellings.spelling, ' ', E'\n')),
        ('carriage returns', 'any', 3, replace(base_spellings.spelling, ' ', E'\r\n')),
        ('ideographic spaces', 'any', 2, replace(base_spellings.spelling, ' ', E'\u3000')),
        (
            'swapped case', 'stage', 3,
            translate(
                base_spellings.spelling,
                'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz',
                'abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ'
            )
        ),
        ('underscores', 'stage', 16, replace(base_spellings.spelling, ' ', '_')),
        ('dashes', 'stage', 16, replace(base_spellings.spelling, ' ', '-')),
        ('en dashes', 'stage', 8, translate(base_spellings.spelling, ' -', E'\u2013\u2013')),
        ('em dashes', 'stage', 4, translate(base_spellings.spelling, ' -', E'\u2014\u2014')),
        ('minus signs', 'stage', 2, translate(base_spellings.spelling, ' -', E'\u2212\u2212')),
        ('spaced dashes', 'stage', 4, replace(base_spellings.spelling, ' ', ' - ')),
        (
            'Cyrillic letters', 'stage', 6,
            translate(
                base_spellings.spelling,
                'ABCEOPTaceopsi',
                E'\u0410\u0412\u0421\u0415\u041e\u0420\u0422\u0430\u0441\u0435\u043e\u0440'
                || E'\u0455\u0456'
            )
        ),
        (
            'Cyrillic capitals', 'stage', 4,
            translate(base_spellings.spelling, 'ABCE', E'\u0410\u0412\u0421\u0415')
        ),
        (
            'Greek capitals', 'stage', 2,
            translate(base_spellings.spelling, 'ABEO', E'\u0391\u0392\u0395\u039f')
        ),
        (
            'full-width letters', 'stage', 2,
            translate(
                base_spellings.spelling,
                'ABCDEFGHISabcdefghijklmnopqrstuvwxyz12+',
                E'\uff21\uff22\uff23\uff24\uff25\uff26\uff27\uff28\uff29\uff33'
                || E'\uff41\uff42\uff43\uff44\uff45\uff46\uff47\uff48\uff49\uff4a\uff4b\uff4c\uff4d'
                || E'\uff4e\uff4f\uff50\uff51\uff52\uff53\uff54\uff55\uff56\uff57\uff58\uff59\uff5a'
                || E'\uff11\uff12\uff0b'
            )
        ),
        (
            'zero-width space', 'stage', 6,
            overlay(base_spellings.spelling placing E'\u200b' from 3 for 0)
        ),
        (
            'soft hyphen', 'stage', 3,
            overlay(base_spellings.spelling placing E'\u00ad' from 3 for 0)
        ),
        ('byte order mark', 'stage', 4, E'\ufeff' || base_spellings.spelling),
        ('word joiner behind', 'stage', 2, base_spellings.spelling || E'\u2060'),
        (
            'combining accent', 'stage', 3,
            overlay(base_spellings.spelling placing E'\u0301' from 3 for 0)
        ),
        ('accented e', 'stage', 3, replace(base_spellings.spelling, 'e', E'\u00e9')),
        ('backslash n', 'stage', 10, replace(base_spellings.spelling, ' ', E'\\n')),
        ('two backslashes n', 'stage', 6, replace(base_spellings.spelling, ' ', E'\\\\n')),
        ('backslash n behind', 'stage', 3, base_spellings.spelling || E'\\n'),
        ('double quotes', 'stage', 6, '"' || base_spellings.spelling || '"'),
        ('single quotes', 'stage', 4, '''' || base_spellings.spelling || ''''),
        ('curly quotes', 'stage', 3, E'\u201c' || base_spellings.spelling || E'\u201d'),
        ('guillemets', 'stage', 2, E'\u00ab' || base_spellings.spelling || E'\u00bb'),
        ('parentheses', 'stage', 5, '(' || base_spellings.spelling || ')'),
        ('square brackets', 'stage', 4, '[' || base_spellings.spelling || ']'),
        ('bullet', 'stage', 3, '* ' || base_spellings.spelling),
        ('full stop', 'stage', 8, base_spellings.spelling || '.'),
        ('colon', 'stage', 3, base_spellings.spelling || ':'),
        ('comma behind', 'stage', 4, base_spellings.spelling || ','),
        ('word round', 'no noise', 16, base_spellings.spelling || ' round'),
        ('word Round', 'no noise', 24, base_spellings.spelling || ' Round'),
        ('word Funding', 'no noise', 16, base_spellings.spelling || ' Funding'),
        ('word Financing', 'no noise', 10, base_spellings.spelling || ' Financing'),
        ('words Funding Round', 'no noise', 5, base_spellings.spelling || ' Funding Round')
    ) as mangles (mangle, fits, weight, raw_value)
    where
        mangles.fits = 'all'
        or (mangles.fits = 'any' and base_spellings.resolution not in ('blank', 'null'))
        or (
            mangles.fits in ('stage', 'no noise')
            and base_spellings.canonical_value is not null
            and octet_length(base_spellings.spelling) = char_length(base_spellings.spelling)
            and (
                mangles.fits = 'stage'
                or not lower(base_spellings.spelling collate "C") like any (
                    array['%round%', '%fund%', '%financ%', '%invest%', '%stage%', '%exten%']
                )
            )
        )
),

-- Only the very text of a canonical value is canonical, whichever mangle happens to make it.
judged as (
    select
        mangled.base_spelling,
        mangled.mangle,
        mangled.raw_value,
        mangled.weight,
        mangled.canonical_value,
        case
            when mangled.raw_value = mangled.canonical_value then 'canonical'
            when mangled.resolution = 'canonical' then 'exact'
            else mangled.resolution
        end as resolution
    from mangled
),

-- One row per text and truth; two truths for one text break the unique key of the table.
distinct_spellings as (
    select
        judged.raw_value,
        judged.resolution,
        judged.canonical_value,
        sum(judged.weight)::bigint as weight,
        (array_agg(judged.base_spelling order by judged.weight desc, judged.mangle))[1]
            as base_spelling,
        (array_agg(judged.mangle order by judged.weight desc, judged.mangle))[1] as mangle
    from judged
    group by judged.raw_value, judged.resolution, judged.canonical_value
),

-- Canonical texts first, null last: where null is not allowed its share is empty.
numbered as (
    select
        distinct_spellings.*,
        distinct_spellings.resolution = 'canonical' as is_canonical,
        case when distinct_spellings.raw_value is null then 0 else distinct_spellings.weight end
            as weight_not_null,
        row_number() over (
            order by
                distinct_spellings.resolution = 'canonical' desc,
                distinct_spellings.raw_value collate "C" nulls last
        ) as spelling_id
    from distinct_spellings
),

-- Weights are whole numbers, so the sums do not depend on the order of addition.
shares as (
    select
        numbered.*,
        (
            sum(numbered.weight) over running - numbered.weight
        )::double precision / sum(numbered.weight) over pool as weight_before,
        (
            sum(numbered.weight_not_null) over running - numbered.weight_not_null
        )::double precision / sum(numbered.weight_not_null) over pool as weight_not_null_before
    from numbered
    window
        pool as (partition by numbered.is_canonical),
        running as (partition by numbered.is_canonical order by numbered.spelling_id)
)

insert into trueup_sample.spellings (
    spelling_id,
    raw_value,
    resolution,
    canonical_value,
    base_spelling,
    mangle,
    weight,
    starts_at,
    starts_at_nullable
)
select
    shares.spelling_id,
    shares.raw_value,
    shares.resolution,
    shares.canonical_value,
    shares.base_spelling,
    shares.mangle,
    shares.weight,
    case
        when shares.is_canonical
            then (1 - parameters.dirty_share) * shares.weight_not_null_before
        when shares.raw_value is null then 1
        else
            1 - parameters.dirty_share
            + parameters.dirty_share * shares.weight_not_null_before
    end as starts_at,
    case
        when shares.is_canonical then (1 - parameters.dirty_share) * shares.weight_before
        else 1 - parameters.dirty_share + parameters.dirty_share * shares.weight_before
    end as starts_at_nullable
from shares
cross join trueup_sample.parameters
order by shares.spelling_id;

-- step: planner statistics
analyze trueup_sample.parameters;
analyze trueup_sample.spellings;

-- step: funds
insert into public.funds (id, name)
select
    numbers.n as id,
    'Fund ' || numbers.n as name
from generate_series(1, trueup_sample.parameter('funds')) as numbers (n);

-- step: portfoliocompanies
-- Funds of very different sizes, their rows interleaved (the square of an even spread), and three
-- in a hundred rows without one. Times lie within three fixed years.
with bounds as (
    select
        array_agg(spellings.starts_at order by spellings.spelling_id) as not_null,
        array_agg(spellings.starts_at_nullable order by spellings.spelling_id) as nullable
    from trueup_sample.spellings
),

words as (
    select
        array[
            'Amber', 'Birch', 'Cobalt', 'Delta', 'Ember', 'Fjord', 'Granite', 'Harbor', 'Indigo',
            'Juniper', 'Kestrel', 'Lumen', 'Meadow', 'Nimbus', 'Orchard', 'Pebble', 'Quartz',
            'Ridge', 'Saffron', 'Timber', 'Umbra', 'Velvet', 'Willow', 'Zephyr'
        ] as first_words,
        array[
            'Analytics', 'Bio', 'Cloud', 'Dynamics', 'Energy', 'Foods', 'Grid', 'Health',
            'Insurance', 'Labs', 'Logistics', 'Mobility', 'Networks', 'Pay', 'Robotics', 'Systems'
        ] as second_words,
        array[
            'climate', 'consumer', 'deep tech', 'enterprise software', 'financial services',
            'health care', 'industrials', 'logistics'
        ] as sectors
),

draws as (
    select
        numbers.n,
        width_bucket(
            trueup_sample.unit_interval(parameters.seed, 'portfoliocompanies.stage', numbers.n),
            bounds.not_null
        ) as stage_id,
        width_bucket(
            trueup_sample.unit_interval(
                parameters.seed, 'portfoliocompanies.current_stage', numbers.n
            ),
            bounds.nullable
        ) as current_stage_id,
        trueup_sample.unit_interval(parameters.seed, 'portfoliocompanies.fund', numbers.n)
            as fund_draw,
        trueup_sample.unit_interval(parameters.seed, 'portfoliocompanies.no_fund', numbers.n)
            as no_fund_draw,
        trueup_sample.unit_interval(parameters.seed, 'portfoliocompanies.name', numbers.n)
            as name_draw,
        trueup_sample.unit_interval(parameters.seed, 'portfoliocompanies.updated', numbers.n)
            as updated_draw,
        trueup_sample.unit_interval(parameters.seed, 'portfoliocompanies.age', numbers.n)
            as age_draw,
        parameters.funds,
        words.first_words[1 + numbers.n % 24] as first_word,
        words.second_words[1 + (numbers.n / 24) % 16] as second_word,
        words.sectors
    from generate_series(1, trueup_sample.parameter('companies')) as numbers (n)
    cross join trueup_sample.parameters
    cross join bounds
    cross join words
)

insert into public.portfoliocompanies (
    id, fund_id, name, stage, current_stage, sector, website, created_at, updated_at
)
select
    draws.n as id,
    case
        when draws.no_fund_draw >= 0.03 and draws.funds > 0
            then 1 + floor(draws.funds * draws.fund_draw * draws.fund_draw)
    end as fund_id,
    draws.first_word || ' ' || draws.second_word || ' ' || draws.n as name,
    stages.raw_value as stage,
    current_stages.raw_value as current_stage,
    draws.sectors[1 + floor(8 * draws.name_draw)::int] as sector,
    case
        when draws.age_draw < 0.9
            then
                'https://' || lower((draws.first_word || draws.second_word) collate "C") || draws.n
                || '.example'
    end as website,
    timestamptz '2023-10-01 00:00:00+00'
    + make_interval(
        secs => floor(94608000 * draws.updated_draw) - floor(63072000 * draws.age_draw)
    ) as created_at,
    timestamptz '2023-10-01 00:00:00+00'
    + make_interval(secs => floor(94608000 * draws.updated_draw)) as updated_at
from draws
inner join trueup_sample.spellings as stages
    on draws.stage_id = stages.spelling_id
inner join trueup_sample.spellings as current_stages
    on draws.current_stage_id = current_stages.spelling_id;

-- step: deal_opportunities
with bounds as (
    select array_agg(spellings.starts_at order by spellings.spelling_id) as not_null
    from trueup_sample.spellings
),

words as (
    select
        array[
            'Alder', 'Basalt', 'Cedar', 'Dune', 'Estuary', 'Falcon', 'Glacier', 'Heron', 'Isle',
            'Jasper', 'Kelp', 'Lagoon', 'Maple', 'Nectar', 'Onyx', 'Prairie'
        ] as first_words,
        array['referral', 'conference', 'inbound', 'accelerator', 'scout'] as sources
),

draws as (
    select
        numbers.n,
        width_bucket(
            trueup_sample.unit_interval(parameters.seed, 'deal_opportunities.stage', numbers.n),
            bounds.not_null
        ) as stage_id,
        trueup_sample.unit_interval(parameters.seed, 'deal_opportunities.fund', numbers.n)
            as fund_draw,
        trueup_sample.unit_interval(parameters.seed, 'deal_opportunities.no_fund', numbers.n)
            as no_fund_draw,
        trueup_sample.unit_interval(parameters.seed, 'deal_opportunities.amount', numbers.n)
            as amount_draw,
        trueup_sample.unit_interval(parameters.seed, 'deal_opportunities.updated', numbers.n)
            as updated_draw,
        trueup_sample.unit_interval(parameters.seed, 'deal_opportunities.age', numbers.n)
            as age_draw,
        parameters.funds,
        words.first_words[1 + numbers.n % 16] as first_word,
        words.sources
    from generate_series(1, trueup_sample.parameter('deals')) as numbers (n)
    cross join trueup_sample.parameters
    cross join bounds
    cross join words
)

insert into public.deal_opportunities (
    id, fund_id, company_name, stage, amount, source, created_at, updated_at
)
select
    draws.n as id,
    case
        when draws.no_fund_draw >= 0.03 and draws.funds > 0
            then 1 + floor(draws.funds * draws.fund_draw * draws.fund_draw)
    end as fund_id,
    draws.first_word || ' ' || draws.n as company_name,
    stages.raw_value as stage,
    case
        when draws.amount_draw < 0.95
            then 50000 * (1 + floor(800 * draws.amount_draw * draws.amount_draw))
    end as amount,
    draws.sources[1 + floor(5 * draws.age_draw)::int] as source,
    timestamptz '2023-10-01 00:00:00+00'
    + make_interval(
        secs => floor(94608000 * draws.updated_draw) - floor(15768000 * draws.age_draw)
    ) as created_at,
    timestamptz '2023-10-01 00:00:00+00'
    + make_interval(secs => floor(94608000 * draws.updated_draw)) as updated_at
from draws
inner join trueup_sample.spellings as stages
    on draws.stage_id = stages.spelling_id;

-- step: investments
-- The fund that paid is the fund of the company, so rows without one follow from there.
with bounds as (
    select array_agg(spellings.starts_at_nullable order by spellings.spelling_id) as nullable
    from trueup_sample.spellings
),

draws as (
    select
        numbers.n,
        width_bucket(
            trueup_sample.unit_interval(parameters.seed, 'investments.round', numbers.n),
            bounds.nullable
        ) as round_id,
        1 + floor(
            parameters.companies
            * trueup_sample.unit_interval(parameters.seed, 'investments.company', numbers.n)
        )::bigint as company_id,
        trueup_sample.unit_interval(parameters.seed, 'investments.amount', numbers.n)
            as amount_draw,
        trueup_sample.unit_interval(parameters.seed, 'investments.updated', numbers.n)
            as updated_draw,
        trueup_sample.unit_interval(parameters.seed, 'investments.age', numbers.n) as age_draw
    from generate_series(1, trueup_sample.parameter('investments')) as numbers (n)
    cross join trueup_sample.parameters
    cross join bounds
),

dated as (
    select
        draws.*,
        timestamptz '2023-10-01 00:00:00+00'
        + make_interval(
            secs => floor(94608000 * draws.updated_draw) - floor(31536000 * draws.age_draw)
        ) as created_at
    from draws
)

insert into public.investments (
    id, company_id, fund_id, round, amount, invested_on, created_at, updated_at
)
select
    dated.n as id,
    dated.company_id,
    portfoliocompanies.fund_id,
    rounds.raw_value as round,
    25000 * (1 + floor(400 * dated.amount_draw * dated.amount_draw)) as amount,
    (dated.created_at at time zone 'UTC')::date as invested_on,
    dated.created_at,
    timestamptz '2023-10-01 00:00:00+00'
    + make_interval(secs => floor(94608000 * dated.updated_draw)) as updated_at
from dated
inner join public.portfoliocompanies
    on dated.company_id = portfoliocompanies.id
inner join trueup_sample.spellings as rounds
    on dated.round_id = rounds.spelling_id;

-- step: stage names
-- The names jsonb columns may use, commonest first; the number of a stage is its place in the
-- canonical order, 0 stands for names that are no stage. Each stage's names come in two halves.
create table trueup_sample.stage_names (
    stage_number bigint not null,
    half bigint not null,
    place bigint not null,
    places bigint not null,
    raw_value text not null,
    canonical_value text null,
    primary key (stage_number, half, place)
);

comment on table trueup_sample.stage_names is
'Names for the jsonb columns: per stage two halves, per half the places 1 to `places`';

with canonical_values as (
    select
        base_spellings.canonical_value,
        row_number() over (order by base_spellings.base_id) as stage_number
    from trueup_sample.base_spellings
    where base_spellings.resolution = 'canonical'
),

ranked as (
    select
        spellings.raw_value,
        spellings.canonical_value,
        coalesce(canonical_values.stage_number, 0) as stage_number,
        row_number() over (
            partition by canonical_values.stage_number
            order by spellings.weight desc, spellings.raw_value collate "C"
        ) as name_rank
    from trueup_sample.spellings
    left join canonical_values
        on spellings.canonical_value = canonical_values.canonical_value
    where spellings.resolution in ('exact', 'broader', 'unknown')
)

insert into trueup_sample.stage_names (
    stage_number, half, place, places, raw_value, canonical_value
)
select
    ranked.stage_number,
    ranked.name_rank % 2 as half,
    (ranked.name_rank + 1) / 2 as place,
    count(*) over (partition by ranked.stage_number, ranked.name_rank % 2) as places,
    ranked.raw_value,
    ranked.canonical_value
from ranked;

analyze trueup_sample.stage_names;

-- step: weights
-- What an owner's jsonb looks like: a template of slots, each a stage by its number (0: none) and
-- its weight in ten thousandths; every template sums to 10,000. Two slots of one stage take their
-- names from different halves, so that they never collide. Templates 1 to 6 suit every owner, the
-- others only owners with messy names.
create table trueup_sample.owner_weights (
    owner_table text not null,
    owner_number bigint not null,
    weights jsonb not null,
    primary key (owner_table, owner_number)
);

comment on table trueup_sample.owner_weights is
'Stage weights as they were written into the jsonb columns';

with templates (template, slot, stage_number, half, points) as (
    values
    (1, 1, 2, 1, 4000),
    (1, 2, 3, 1, 6000),
    (2, 1, 1, 1, 1000),
    (2, 2, 2, 1, 3500),
    (2, 3, 3, 1, 3500),
    (2, 4, 4, 1, 2000),
    (3, 1, 3, 1, 5000),
    (3, 2, 4, 1, 3000),
    (3, 3, 5, 1, 1500),
    (3, 4, 6, 1, 500),
    (4, 1, 2, 1, 3333),
    (4, 2, 3, 1, 3333),
    (4, 3, 4, 1, 3334),
    (5, 1, 1, 1, 10000),
    (6, 1, 1, 1, 500),
    (6, 2, 2, 1, 2750),
    (6, 3, 3, 1, 3000),
    (6, 4, 4, 1, 2000),
    (6, 5, 5, 1, 1250),
    (6, 6, 6, 1, 500),
    (7, 1, 3, 1, 3000),
    (7, 2, 3, 0, 2000),
    (7, 3, 2, 1, 5000),
    (8, 1, 1, 1, 2500),
    (8, 2, 1, 0, 2500),
    (8, 3, 4, 1, 2500),
    (8, 4, 4, 0, 2500),
    (9, 1, 2, 1, 4500),
    (9, 2, 3, 1, 4500),
    (9, 3, 0, 1, 1000)
),

owners as (
    select
        'fund_strategy_models' as owner_table,
        numbers.n as owner_number
    from generate_series(1, trueup_sample.parameter('strategies')) as numbers (n)
    union all
    select
        'fund_baselines' as owner_table,
        numbers.n as owner_number
    from generate_series(1, trueup_sample.parameter('baselines')) as numbers (n)
),

judged_owners as (
    select
        owners.owner_table,
        owners.owner_number,
        parameters.seed,
        trueup_sample.unit_interval(
            parameters.seed, owners.owner_table || '.messy', owners.owner_number
        ) < parameters.dirty_share as is_messy
    from owners
    cross join trueup_sample.parameters
),

shaped_owners as (
    select
        judged_owners.owner_table,
        judged_owners.owner_number,
        judged_owners.seed,
        judged_owners.is_messy,
        1 + floor(
            case when judged_owners.is_messy then 9 else 6 end
            * trueup_sample.unit_interval(
                judged_owners.seed,
                judged_owners.owner_table || '.template',
                judged_owners.owner_number
            )
        )::int as template
    from judged_owners
),

-- Materialized, because the planner cannot see how few rows these are and would compare each
-- with every name.
drawn_slots as materialized (
    select
        shaped_owners.owner_table,
        shaped_owners.owner_number,
        shaped_owners.is_messy,
        templates.slot,
        templates.stage_number,
        templates.half,
        templates.points,
        trueup_sample.unit_interval(
            shaped_owners.seed,
            shaped_owners.owner_table || '.name.' || templates.slot,
            shaped_owners.owner_number
        ) as name_draw
    from shaped_owners
    inner join templates
        on shaped_owners.template = templates.template
),

-- The square of the draw: common spellings are taken more often than rare ones.
slots as materialized (
    select
        drawn_slots.*,
        1 + floor(pools.places * drawn_slots.name_draw * drawn_slots.name_draw)::bigint as place
    from drawn_slots
    inner join trueup_sample.stage_names as pools
        on
            drawn_slots.stage_number = pools.stage_number
            and drawn_slots.half = pools.half
            and pools.place = 1
)

insert into trueup_sample.owner_weights (owner_table, owner_number, weights)
select
    slots.owner_table,
    slots.owner_number,
    jsonb_object_agg(
        case
            when slots.is_messy then stage_names.raw_value else stage_names.canonical_value
        end,
        trim_scale(slots.points / 10000.0)
        order by slots.slot
    ) as weights
from slots
inner join trueup_sample.stage_names
    on
        slots.stage_number = stage_names.stage_number
        and slots.half = stage_names.half
        and slots.place = stage_names.place
group by slots.owner_table, slots.owner_number;

-- step: fund_strategy_models
with draws as (
    select
        owner_weights.owner_number as n,
        owner_weights.weights,
        parameters.seed,
        parameters.funds,
        trueup_sample.unit_interval(
            parameters.seed, 'fund_strategy_models.updated', owner_weights.owner_number
        ) as updated_draw
    from trueup_sample.owner_weights
    cross join trueup_sample.parameters
    where owner_weights.owner_table = 'fund_strategy_models'
)

insert into public.fund_strategy_models (
    id, fund_id, name, stage_allocation, created_at, updated_at
)
select
    md5('fund_strategy_models:' || draws.seed || ':' || draws.n)::uuid as id,
    1 + (draws.n - 1) % draws.funds as fund_id,
    'Model ' || (1 + (draws.n - 1) / draws.funds) as name,
    draws.weights as stage_allocation,
    timestamptz '2023-10-01 00:00:00+00' as created_at,
    timestamptz '2023-10-01 00:00:00+00'
    + make_interval(secs => floor(94608000 * draws.updated_draw)) as updated_at
from draws;

-- step: fund_baselines
with draws as (
    select
        owner_weights.owner_number as n,
        owner_weights.weights,
        parameters.seed,
        parameters.funds,
        trueup_sample.unit_interval(
            parameters.seed, 'fund_baselines.updated', owner_weights.owner_number
        ) as updated_draw
    from trueup_sample.owner_weights
    cross join trueup_sample.parameters
    where owner_weights.owner_table = 'fund_baselines'
)

insert into public.fund_baselines (
    id, fund_id, name, stage_distribution, created_at, updated_at
)
select
    md5('fund_baselines:' || draws.seed || ':' || draws.n)::uuid as id,
    1 + (draws.n - 1) % draws.funds as fund_id,
    'Baseline ' || (1 + (draws.n - 1) / draws.funds) as name,
    draws.weights as stage_distribution,
    timestamptz '2023-10-01 00:00:00+00' as created_at,
    timestamptz '2023-10-01 00:00:00+00'
    + make_interval(secs => floor(94608000 * draws.updated_draw)) as updated_at
from draws;

-- step: user_app_state
-- Documents of a content application: 180 users as most are, and one or more of each oddity that
-- has been seen. The shape of a document depends on the user's number only.
with users as (
    select
        users.n,
        'user-' || to_char(users.n, 'FM0000') as user_id,
        '2025-' || to_char(1 + users.n % 12, 'FM00') || '-' || to_char(1 + users.n % 28, 'FM00')
        || 'T08:' || to_char(users.n % 60, 'FM00') || ':15.123Z' as at
    from generate_series(1, 180) as users (n)
),

orgs as (
    select
        users.user_id,
        jsonb_agg(
            jsonb_build_object(
                'id', 'org-' || orgs.n,
                'name', 'Organisation ' || orgs.n || ' of ' || users.user_id,
                'industry', (array['Beauty', 'Food', 'Education'])[1 + (users.n + orgs.n) % 3],
                'city', (array['Köln', '上海', 'Lagos'])[1 + users.n % 3],
                'isSensitive', users.n % 7 = 0,
                'logo', case when orgs.n = 1 then 'logo.png' end,
                'createdAt', users.at
            )
            order by orgs.n
        ) as items
    from users
    cross join lateral generate_series(1, 1 + users.n % 2) as orgs (n)
    group by users.user_id
),

personas as (
    select
        users.user_id,
        jsonb_agg(
            jsonb_build_object(
                'id', 'ip-' || personas.n,
                'orgId', 'org-' || 1 + personas.n % (1 + users.n % 2),
                'name', 'Persona ' || personas.n,
                'avatar', 'https://example.org/' || personas.n || '.png',
                'bio', 'Sells "soap"' || chr(10) || 'since 2019 ✨',
                'type', 'founder',
                'status', (array['active', 'Active', 'paused'])[1 + (users.n + personas.n) % 3],
                'brandBook', jsonb_build_object(
                    'voice', jsonb_build_array('warm', 'plain'),
                    'colors', jsonb_build_object('main', '#0a0')
                ),
                'offers', jsonb_build_array(jsonb_build_object('name', 'Starter', 'price', 49.50)),
                'avgTicketSize', 120.50,
                'createdAt', users.at,
                'updatedAt', users.at
            )
            order by personas.n
        ) as items
    from users
    cross join lateral generate_series(1, users.n % 4) as personas (n)
    group by users.user_id
),

accounts as (
    select
        users.user_id,
        jsonb_agg(
            jsonb_build_object(
                'id', 'acc-' || accounts.n,
                'personaId', 'ip-' || accounts.n,
                'platform', (array['wechat', 'tiktok'])[1 + accounts.n % 2],
                'accountId', 'p' || users.n || '-' || accounts.n,
                'accountName', 'name ' || accounts.n,
                'followers', users.n * 100 + accounts.n,
                'isVerified', accounts.n = 1,
                'status', 'connected',
                'createdAt', users.at
            )
            order by accounts.n
        ) as items
    from users
    cross join lateral generate_series(1, users.n % 4) as accounts (n)
    group by users.user_id
),

contents as (
    select
        users.user_id,
        jsonb_agg(
            jsonb_build_object(
                'id', 'c-' || contents.n,
                'personaId', 'ip-' || 1 + contents.n % (users.n % 4),
                'accountId', 'acc-' || 1 + contents.n % (users.n % 4),
                'platform', 'wechat',
                'title', 'Title ' || contents.n,
                'topicCluster', 'skin care',
                'format', 'video',
                'epochId', 'epoch-1',
                'script', jsonb_build_object(
                    'hook', 'Did you know?', 'scenes', jsonb_build_array(1, 2.50, null)
                ),
                'evidenceIds', jsonb_build_array(),
                'referenceIds', jsonb_build_array('r-1'),
                'status', (array['draft', 'published'])[1 + contents.n % 2],
                'metrics', case
                    when contents.n % 2 = 1 then jsonb_build_object('views', 1e6, 'rate', 0.10)
                end,
                'publishedAt', case when contents.n % 2 = 1 then users.at end,
                'weekNumber', contents.n,
                'createdAt', users.at,
                'updatedAt', users.at
            )
            order by contents.n
        ) as items
    from users
    cross join lateral generate_series(1, 3 * (users.n % 4)) as contents (n)
    group by users.user_id
),

leads as (
    select
        users.user_id,
        jsonb_agg(
            jsonb_build_object(
                'id', 'l-' || leads.n,
                'personaId', 'ip-1',
                'name', 'Lead ' || leads.n,
                'contact', 'lead' || leads.n || '@example.org',
                'platform', 'wechat',
                'source', 'comment',
                'sourceContentId', 'c-' || leads.n,
                'status', 'new',
                'leadLevel', 'A',
                'tags', jsonb_build_array('hot', ''),
                'notes', '',
                'createdAt', users.at,
                'updatedAt', users.at
            )
            order by leads.n
        ) as items
    from users
    cross join lateral generate_series(1, 2 * (users.n % 4)) as leads (n)
    group by users.user_id
),

usual as (
    select
        users.n,
        users.user_id,
        jsonb_build_object(
            'orgs', orgs.items,
            'personas', coalesce(personas.items, '[]'),
            'accounts', coalesce(accounts.items, '[]'),
            'contents', coalesce(contents.items, '[]'),
            'leads', coalesce(leads.items, '[]'),
            'references', case
                when personas.items is null then '[]'
                else jsonb_build_array(
                    jsonb_build_object(
                        'id', 'r-1', 'personaId', 'ip-1', 'type', 'article', 'title', 'A "source"',
                        'url', 'https://example.org/r', 'tags', jsonb_build_array('x'),
                        'isInspiration', true, 'collectedAt', users.at
                    )
                )
            end,
            'inboxItems', jsonb_build_array(
                jsonb_build_object(
                    'id', 'in-1', 'personaId', case when personas.items is not null then 'ip-1' end,
                    'type', 'voice', 'title', 'Memo', 'transcript', 'Hello', 'duration', 12.5,
                    'status', 'new', 'createdAt', users.at
                )
            ),
            'users', jsonb_build_array(jsonb_build_object('id', users.user_id)),
            'epochs', jsonb_build_array(jsonb_build_object('id', 'epoch-1')),
            'settings', jsonb_build_object(
                'language', 'zh', 'nested', jsonb_build_object('a', null)
            ),
            'currentOrgId', 'org-1',
            'isAuthenticated', true,
            'assistantStage', 'idle'
        ) as state
    from users
    left join orgs on users.user_id = orgs.user_id
    left join personas on users.user_id = personas.user_id
    left join accounts on users.user_id = accounts.user_id
    left join contents on users.user_id = contents.user_id
    left join leads on users.user_id = leads.user_id
),

odd (user_id, version, state) as (
    values
    -- as other clients write them
    ('odd-snake', '1.0', cast('{"orgs": [{"id": "org-1", "name": "Snake", "is_sensitive": true,
        "created_at": "2025-02-03T04:05:06.789Z"}], "personas": [{"id": "ip-1", "org_id": "org-1",
        "avg_ticket_size": 7, "main_offer": "tea"}], "inbox_items": [{"id": "in-1", "persona_id":
        "ip-1", "duration": 3}], "current_org_id": "org-1"}' as jsonb)),
    ('odd-both-spellings', '1.0', '{"inboxItems": [{"id": "a", "createdAt":
        "2025-01-01T00:00:00.000Z", "created_at": "2024-01-01T00:00:00.000Z"}],
        "inbox_items": [{"id": "b"}]}'),
    ('odd-empty', '1.0', '{}'),
    ('odd-empty-arrays', '1.0', '{"orgs": [], "leads": [], "references": null}'),
    ('odd-numbers-as-ids', '1.0', '{"orgs": [{"id": 7, "name": "Seven"}], "personas": [{"id": 1,
        "orgId": 7}, {"id": "2", "orgId": "7"}]}'),
    ('odd-no-ids', '1.0', '{"leads": [{"name": "Ann"}, {"name": "Ann"}, {"id": "", "name": "Bob"},
        {"id": null}]}'),
    ('odd-dates', '2.0', '{"contents": [{"id": "c1", "createdAt": "yesterday", "updatedAt":
        "2025-02-30T00:00:00Z"}, {"id": "c2", "createdAt": "2024-02-29", "updatedAt":
        "2025-01-01T00:00:00+02:00"}, {"id": "c3", "createdAt": 1735689600000, "updatedAt":
        "2025-01-01 00:00:00"}]}'),
    ('odd-dangling', '1.0', '{"personas": [{"id": "ip-1", "orgId": "org-gone"}], "contents": [{"id":
        "c1", "personaId": "ip-1", "accountId": "acc-gone"}]}'),
    ('odd-types', '1.0', '{"accounts": [{"id": "a", "followers": "12k", "isVerified": "yes",
        "status": 3, "platform": {"name": "x"}}], "orgs": [{"id": "o", "name": null,
        "_trueup": {"own": 1}, "nested": [[[{"a": [null]}]]]}]}'),
    ('odd-unknown-status', '1.0', '{"leads": [{"id": "l", "status": "never heard of"}]}'),
    ('odd-twin-1', '1.0', '{"orgs": [{"id": "org-1", "name": "Twin"}]}'),
    ('odd-twin-2', '1.0', '{"orgs": [{"id": "org-1", "name": "Twin"}]}'),
    -- parts of these are refused
    ('odd-duplicate', '1.0', '{"orgs": [{"id": "o", "name": "first"}, {"id": "o", "name":
        "second"}, {"id": "p"}]}'),
    ('odd-items', '1.0', '{"leads": [{"id": "l"}, "a text", 4, null, ["x"]]}'),
    ('odd-array', '1.0', '{"orgs": {"id": "o"}, "leads": [{"id": "l"}], "contents": "none"}'),
    -- and these are refused as a whole
    ('odd-text', '1.0', '"{\"orgs\": []}"'),
    ('odd-scalar', '1.0', '17'),
    ('odd-list', '1.0', '[{"orgs": []}]'),
    ('odd-no-state', '1.0', null),
    ('odd-version', '9.9', '{"orgs": [{"id": "o"}]}'),
    ('odd-deep', '1.0', cast(repeat('{"a": ', 200) || '1' || repeat('}', 200) as jsonb)),
    (null, '1.0', '{"orgs": [{"id": "of nobody"}]}'),
    ('', '1.0', '{"orgs": [{"id": "of nobody else"}]}')
),

documents as (
    select
        'user-' || usual.n as name,
        usual.user_id,
        '1.1' as version,
        usual.state,
        timestamptz '2025-11-01 00:00:00+00' + make_interval(mins => usual.n) as updated_at
    from usual
    union all
    select
        coalesce(odd.user_id, 'nobody') as name,
        odd.user_id,
        odd.version,
        odd.state,
        timestamptz '2025-11-01 00:00:00+00' as updated_at
    from odd
    union all
    -- an older document of a user, and one that nobody dated
    select
        'older of user-' || usual.n as name,
        usual.user_id,
        '1.0' as version,
        usual.state - 'leads' as state,
        case when usual.n = 3 then timestamptz '2025-10-01 00:00:00+00' end as updated_at
    from usual
    where usual.n in (3, 5)
)

insert into public.user_app_state (id, user_id, state, version, created_at, updated_at)
select
    cast(md5('user_app_state:' || documents.name) as uuid) as id,
    documents.user_id,
    documents.state,
    documents.version,
    timestamptz '2025-10-01 00:00:00+00' as created_at,
    documents.updated_at
from documents;

-- step: identities
-- The application's next insert gets the next free number.
select
    setval(
        pg_get_serial_sequence('public.portfoliocompanies', 'id'), parameters.companies + 1, false
    ),
    setval(
        pg_get_serial_sequence('public.deal_opportunities', 'id'), parameters.deals + 1, false
    ),
    setval(pg_get_serial_sequence('public.investments', 'id'), parameters.investments + 1, false)
from trueup_sample.parameters;

-- step: statistics
analyze public.funds;
analyze public.portfoliocompanies;
analyze public.deal_opportunities;
analyze public.investments;
analyze public.fund_strategy_models;
analyze public.fund_baselines;
analyze public.user_app_state;
analyze trueup_sample.owner_weights;
