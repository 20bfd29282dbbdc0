{#-
    Keys of rows as the ledger stores them, an array of texts, as arrays of the key's own types, one
    per column: the reverse of key_text() for many rows at once.
    keys_from_texts({'id': 'bigint'}, 'changes.row_keys') →
        cast(changes.row_keys as bigint[]) as key_1
    keys_from_texts({'a': 'integer', 'b': 'text'}, 'changes.row_keys') →
        array(select cast((cast(listed.row_key as text[]))[1] as integer) ...) as key_1, ...
-#}
{%- macro keys_from_texts(key, texts) -%}
{%- if key | length == 1 and (key.values() | first) != 'timestamptz' -%}
cast({{ texts }} as {{ key.values() | first }}[]) as key_1
{%- else -%}
{%- for type in key.values() -%}
array(
    select
        {{ trueup.key_part_from_text(
            'listed.row_key' if key | length == 1
            else '(cast(listed.row_key as text[]))[' ~ loop.index ~ ']', type
        ) }} as key_part
    from unnest({{ texts }}) with ordinality as listed (row_key, place)
    order by listed.place
) as key_{{ loop.index }}
{{- ',\n' if not loop.last }}
{%- endfor -%}
{%- endif -%}
{%- endmacro -%}
