create index if not exists batches_run_id_status_idx on batches (run_id, status);
create index if not exists batches_run_id_idx on batches (run_id)
