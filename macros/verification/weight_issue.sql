{#-
    The fault in the weights of a document, in words; NULL if there is none. Only this macro decides
    it, for the mart and for verification. A CASE over the columns name_total,
    names_without_weight, smallest_weight and weight_sum of a relation with one row per document;
    epsilon is how far from 1 their sum may be.
    weight_issue('owners', '0.000001') → case when owners.name_total = 0 then ... end
-#}
{%- macro weight_issue(owners, epsilon) -%}
case
    when {{ owners }}.name_total = 0 then 'no weights'
    when {{ owners }}.names_without_weight > 0 then 'a weight is not a number'
    when {{ owners }}.smallest_weight < 0 then 'a weight is negative'
    when {{ owners }}.weight_sum = 0 then 'all weights are zero'
    when abs({{ owners }}.weight_sum - 1) > {{ epsilon }}
        then 'weights do not sum to 1'
end
{%- endmacro -%}
