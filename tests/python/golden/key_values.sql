cast((cast($1 as text[]))[1] as text), cast((cast($1 as text[]))[2] as uuid)
