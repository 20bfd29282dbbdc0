{#-
    The words of `trueup verify`: its checks in their order, as [code, name, sentence if it is met,
    what is the matter if it is not]. The sentence is read by format() with these arguments:
    %1$s the columns that were read ("4 columns"), %2$s the same with their cells, %3$s tables and
    rows, %4$s batches, %5$s changed rows, %6$s what was found. Tenant in a name becomes the user's
    word for it.
-#}
{%- macro verification_words() -%}
{{ return([
    [
        'batch_tracking', 'Batch Tracking',
        'All batches completed successfully (%4$s total)',
        'Some batches are not done, or rows were refused',
    ],
    [
        'canonical_values', 'Canonical Values',
        'Every value is canonical or was decided on (%2$s)',
        'Values are not canonical',
    ],
    [
        'null_integrity', 'NULL Integrity',
        'No value became NULL or blank (%2$s)',
        'More rows are NULL or blank than before',
    ],
    [
        'row_counts', 'Row Counts',
        'The number of rows is unchanged (%3$s)',
        'The number of rows changed',
    ],
    [
        'audit_consistency', 'Audit Consistency',
        'Audit, counters and rows agree (%5$s)',
        'Audit, counters and rows disagree',
    ],
    [
        'sample_inspection', 'Sample Inspection',
        '%6$s',
        'The sample could not be drawn',
    ],
    [
        'per_fund_breakdown', 'Per-Tenant Breakdown',
        '%6$s',
        'The tenants could not be counted',
    ],
    [
        'weight_sums', 'Weight Sums',
        'The weights of every document are valid (%6$s)',
        'Weights are not valid',
    ],
    [
        'other_columns_untouched', 'Other Columns Untouched',
        'No other column changed (%1$s changed by this run)',
        'Other columns changed',
    ],
    [
        'models_agree', 'Models Agree',
        'The marts show the values of the tables (%1$s)',
        'Marts and tables disagree',
    ],
    [
        'array_lengths', 'Array Lengths',
        'Every item is a row, or is kept as refused (%6$s)',
        'Arrays and tables disagree',
    ],
    [
        'round_trip', 'Round Trip',
        'The tables give every document back as it was (%6$s)',
        'Documents and tables disagree',
    ],
    [
        'dangling_parents', 'Dangling Parents',
        'Every reference has its parent (%6$s)',
        'References have no parent',
    ],
    [
        'images_agree', 'Images Agree',
        'Images, counters and rows agree (%6$s)',
        'Images, counters and rows disagree',
    ],
]) }}
{%- endmacro -%}
