case
    when
        deals.stage like '%"%'
        or deals.stage like '%,%'
        or deals.stage like E'%\n%'
        then '"' || replace(deals.stage, '"', '""') || '"'
    else deals.stage
end
