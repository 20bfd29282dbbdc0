case
    when owners.name_total = 0 then 'no weights'
    when owners.names_without_weight > 0 then 'a weight is not a number'
    when owners.smallest_weight < 0 then 'a weight is negative'
    when owners.weight_sum = 0 then 'all weights are zero'
    when abs(owners.weight_sum - 1) > 0.01
        then 'weights do not sum to 1'
end
