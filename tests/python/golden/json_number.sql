case
    when jsonb_typeof(members.weight_value) <> 'number' then null
    -- a larger number is not a weight, and would overflow the sum
    when abs(cast(members.weight_value as numeric)) < 1000000000000
        then cast(members.weight_value as numeric)
end
