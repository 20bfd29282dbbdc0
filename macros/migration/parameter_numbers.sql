{#-
    The parameters of a named statement by name, as the statement writes them.
    parameter_numbers(['batch_id', 'stripe']) → {'batch_id': '$1', 'stripe': '$2'}
-#}
{%- macro parameter_numbers(names) -%}
    {%- set numbers = {} -%}
    {%- for name in names -%}
        {%- do numbers.update({name: '$' ~ loop.index}) -%}
    {%- endfor -%}
    {{- return(numbers) -}}
{%- endmacro -%}
