cast((cast($4 as text[]))[cast($3 as integer)] as text[])
