run_id uuid not null,
batch_id bigint not null generated always as identity,
attempts integer not null default 0,
row_keys text[],
primary key (run_id, batch_id)
