"""JSON documents to tables: the plan of a run, its export, and what is needed before it."""
