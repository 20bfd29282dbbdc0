-- The tables of the CRM and their rows; test_package.py makes them.
create schema crm;
create table crm.organisations (
    org_uid uuid primary key,
    workspace uuid,
    display_name text not null,
    funding_stage text,
    modified_at timestamptz
);
create table crm.offers (
    offer_code text primary key,
    round_name varchar(40)
);
create table crm.board_entries (
    board_id integer,
    entry_no integer,
    workspace uuid,
    phase text,
    modified_at timestamptz,
    primary key (board_id, entry_no)
);
insert into crm.organisations
select
    md5('organisation' || n)::uuid,
    case when n % 4 > 0 then md5('workspace' || n % 4)::uuid end,
    'Organisation ' || n,
    (array['Series A', 'seed', 'Erste Runde', 'SERIES_B Phase', null, '', 'A轮'])[1 + n % 7],
    timestamptz '2026-11-01' + n * interval '1 hour'
from generate_series(1, 70) as n;
insert into crm.offers
select 'OF-' || n, (array['Seed', 'series-a', 'Series D', 'Pre–Seed'])[1 + n % 4]
from generate_series(1, 40) as n;
insert into crm.board_entries
select n % 5, n, null, (array['Amorçage', 'series-c'])[1 + n % 2], now()
from generate_series(1, 50) as n;
