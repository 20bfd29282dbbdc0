case
    when
        coalesce(
            deals.row_key !~ (
                '^[{]("([^"\\]|\\.)*"|[^"{},\\ ]+)'
                || '(,("([^"\\]|\\.)*"|[^"{},\\ ]+)){1}[}]$'
            ),
            true
        )
        then false
    else
        (cast(deals.row_key as text[]))[1] is not null
        and coalesce(
            (cast(deals.row_key as text[]))[2]
            ~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$',
            false
        )
end
