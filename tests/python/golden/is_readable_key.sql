case
    when deals.row_key ~ '^-?[0-9]{1,19}$'
        then
            cast(deals.row_key as numeric)
            between -9223372036854775808 and 9223372036854775807
    else false
end
