-- A club's database before its members come over, and the files that the old system has exported.
-- Steps are marked `-- step: name`. {members} is the number of members; events and registrations
-- follow from it. The search path leads to the application's schema.

-- step: tables
create table "MembershipTier" (
    id uuid primary key default gen_random_uuid(),
    code text not null unique,
    name text not null,
    "sortOrder" int not null
);
comment on table "MembershipTier" is 'Tiers of a membership. [trueup sample]';

create table "MembershipStatus" (
    id uuid primary key default gen_random_uuid(),
    code text not null unique,
    label text not null
);
comment on table "MembershipStatus" is 'Statuses of a membership. [trueup sample]';

create table "Member" (
    id uuid primary key default gen_random_uuid(),
    email text not null unique,
    "firstName" text not null,
    "lastName" text not null,
    phone text,
    "joinedAt" date,
    "membershipTierId" uuid references "MembershipTier" (id),
    "membershipStatusId" uuid references "MembershipStatus" (id),
    "createdAt" timestamptz not null default now()
);
comment on table "Member" is 'Members of the club. [trueup sample]';

create table "Event" (
    id uuid primary key default gen_random_uuid(),
    title text not null,
    "startTime" timestamptz not null,
    "endTime" timestamptz,
    location text
);
comment on table "Event" is 'Events of the club. [trueup sample]';

create table "EventRegistration" (
    id uuid primary key default gen_random_uuid(),
    "eventId" uuid not null references "Event" (id),
    "memberId" uuid not null references "Member" (id),
    status text not null default 'PENDING',
    "registeredAt" timestamptz not null default now()
);
create index on "EventRegistration" ("eventId");
create index on "EventRegistration" ("memberId");
comment on table "EventRegistration" is 'Who comes to which event. [trueup sample]';

create table "Policy" (
    key text primary key,
    value jsonb not null
);
comment on table "Policy" is 'Rules of the club. [trueup sample]';

create table "WaIdMapping" (
    "entityType" text not null,
    "waId" text not null,
    "targetId" uuid not null,
    "runId" text not null,
    action text not null,
    primary key ("entityType", "waId")
);
comment on table "WaIdMapping" is 'Ids of the old system. [trueup sample]';

-- step: rows
insert into "MembershipTier" (code, name, "sortOrder")
values
('PROSPECT', 'Prospect', 0),
('NEWCOMER', 'Newcomer', 10),
('FIRST_YEAR', 'First Year', 20),
('SECOND_YEAR', 'Second Year', 30),
('THIRD_YEAR', 'Third Year', 40),
('ALUMNI', 'Alumni', 50),
('LAPSED', 'Lapsed', 60),
('GENERAL', 'General', 100);

insert into "MembershipStatus" (code, label)
values ('ACTIVE', 'Active'), ('LAPSED', 'Lapsed'), ('PENDING', 'Pending');

insert into "Policy" (key, value)
values
('scheduling.timezone', '"America/Los_Angeles"'),
('kpi.targets', '{"members": 2500}'),
('registration.waitlist', 'true');

-- people who were here before, with an event of their own; the third one comes over, too
insert into "Member" (email, "firstName", "lastName", phone)
values
('office@club.example', 'The', 'Office', null),
('chair@club.example', 'Casey', 'Chair', '+1 555 0100'),
('member3@club.example', 'Known', 'Already', '+1 555 0103');

with one_event as (
    insert into "Event" (title, "startTime")
    values ('Board meeting', '2024-02-01 18:00+00')
    returning id
)

insert into "EventRegistration" ("eventId", "memberId", status)
select
    one_event.id,
    members.id,
    'CONFIRMED'
from one_event
cross join "Member" as members;

-- step: members.csv
select
    number + 1000 as "User ID",
    'First' || number as "First name",
    case when number % 50 = 7 then 'O''Neil, Jr. ' || number else 'Last' || number end
        as "Last name",
    'member' || number || '@club.example' as "Email",
    case when number % 3 = 0 then '+1 555 ' || to_char(number, 'FM000000') end as "Phone",
    to_char(date '2019-01-01' + (number * 7 % 1800)::int, 'YYYY-MM-DD') as "Member since",
    case
        when number % 67 = 5 then null
        else (array[
            'New Member', '1st Year', '2nd  year', 'Third Year', 'ALUMNI', 'lapsed', 'Newcomer',
            'Sponsor', 'first–year', 'Prospect', 'Honorary'
        ])[1 + number % 11]
    end as "Membership level",
    (array['Active', 'Lapsed', 'Pending new'])[1 + number % 3] as "Membership status"
from generate_series(1, {members}) as number
order by number;

-- step: events.csv
select
    number + 50000 as "Event ID",
    'Event ' || number || case when number % 9 = 0 then ', with dinner' else '' end
        as "Event title",
    to_char(date '2022-01-01' + (number % 900)::int, 'YYYY-MM-DD') || 'T18:00:00Z' as "Start date",
    to_char(date '2022-01-01' + (number % 900)::int, 'YYYY-MM-DD') || 'T21:30:00Z' as "End date",
    (array['Club house', 'Library', 'Online'])[1 + number % 3] as "Location"
from generate_series(1, greatest({members}::bigint * 523 / 2147, 1)) as number
order by number;

-- step: registrations.csv
select
    number + 900000 as "Registration ID",
    50001 + number * 17 % greatest({members}::bigint * 523 / 2147, 1) as "Event ID",
    1001 + number * 7 % {members} as "User ID",
    (array['Confirmed', 'Cancelled', 'Waitlist'])[1 + number % 3] as "Registration status",
    to_char(date '2021-06-01' + (number % 900)::int, 'YYYY-MM-DD') as "Registration date"
from generate_series(1, {members}::bigint * 8603 / 2147) as number
order by number;

-- step: broken members.csv
select line
from (
    values
    ('User ID,First name,Last name,Email,Phone,Member since,Membership level,Membership status'),
    ('7001,Anna,Good,anna@club.example,,2023-04-01,1st Year,Active'),
    ('7002,Ben,Shifted, Jr.,ben@club.example,,2023-04-01,1st Year,Active'),
    ('7003,Cleo,Rolled,cleo@club.example,,2023-02-30,1st Year,Active'),
    ('7004,Anna,Twin,ANNA@club.example,,2023-04-01,1st Year,Active'),
    ('7005,Dan,Nomail,,,2023-04-01,1st Year,Active'),
    ('7006,Eve,Badmail,eve at club,,2023-04-01,1st Year,Active'),
    ('7007,,Nofirst,f@club.example,,2023-04-01,1st Year,Active'),
    ('7008,Gil,,g@club.example,,2023-04-01,1st Year,Active'),
    ('7009,Hal,Status,h@club.example,,2023-04-01,1st Year,Frozen'),
    ('7001,Ida,Again,i@club.example,,2023-04-01,1st Year,Active'),
    (',Joy,Noid,j@club.example,,2023-04-01,1st Year,Active'),
    ('7010,Kim,Other,chair@club.example,,04/01/2023,1st Year,Active')
) as lines (line);

-- step: broken events.csv
select line
from (
    values
    ('Event ID,Event title,Start date,End date,Location'),
    ('8001,Good,2024-05-01T18:00:00Z,,Library'),
    ('8002,Bad date,2024-02-30,,Library'),
    ('8003,,2024-05-01,,Library')
) as lines (line);

-- step: broken registrations.csv
select line
from (
    values
    ('Registration ID,Event ID,User ID,Registration status,Registration date'),
    ('9001,8001,7001,Confirmed,2024-04-01'),
    ('9002,8002,7001,Confirmed,2024-04-01'),
    ('9003,8001,7002,Confirmed,2024-04-01'),
    ('9004,8001,1001,Confirmed,2024-04-01')
) as lines (line);

-- step: migration-config.json
select jsonb_pretty(
    '{
        "tierMapping": {"Sponsor": "GENERAL", "_default": "GENERAL"},
        "statusMapping": {"Active": "ACTIVE", "Lapsed": "LAPSED", "Pending new": "PENDING"},
        "levelStatusMapping": {"Prospect": "PENDING"},
        "registrationStatusMapping": {
            "Confirmed": "CONFIRMED", "Cancelled": "CANCELLED", "Waitlist": "WAITLISTED"
        }
    }'::jsonb
);

-- step: policy-bundle.json
select jsonb_pretty(
    '{
        "version": 1,
        "policies": [
            {"key": "scheduling.timezone", "value": "America/Los_Angeles", "source": "settings",
             "required": true},
            {"key": "kpi.targets", "value": {"members": 2500}, "source": "settings",
             "required": true},
            {"key": "registration.waitlist", "value": true, "source": "settings",
             "required": false}
        ]
    }'::jsonb
);

-- step: broken policy-bundle.json
select jsonb_pretty(
    '{
        "version": 1,
        "policies": [
            {"key": "scheduling.timezone", "value": "America/New_York", "source": "settings",
             "required": true},
            {"key": "kpi.targets", "value": "{{ targets }}", "source": "template",
             "required": true},
            {"key": "registration.deposit", "value": 10, "source": "settings", "required": false}
        ]
    }'::jsonb
);

-- step: broken migration-report.json
-- of a good report: another run, a member that is not there, a changed address, a date that does
-- not exist, and two sources on one target
select jsonb_pretty(
    jsonb_set(
        jsonb_set(
            jsonb_set(
                jsonb_set(
                    report || '{"runId": "run-20240115-143000"}',
                    '{members,records,0,_targetId}',
                    to_jsonb('00000000-0000-4000-8000-000000000000'::text)
                ),
                '{members,records,1,email}',
                '"somebody.else@club.example"'
            ),
            '{members,records,3,joinedAt}',
            '"2024-02-30"'
        ),
        '{events,records,1,_targetId}',
        report #> '{events,records,0,_targetId}'
    )
)
from (select %s::jsonb as report) as given;
