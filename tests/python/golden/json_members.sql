lateral jsonb_each(
    case
        when jsonb_typeof(funds.allocation) = 'object'
            then funds.allocation
        else '{}'
    end
) as members (stage_name, weight_value)
