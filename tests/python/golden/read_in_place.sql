not materialized
