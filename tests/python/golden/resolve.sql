-- The text key of every value. Materialized: it is dear, and would be computed again by every join.
keyed_values as materialized (
    select
        observed_values.*,
        btrim(
            replace(
                -- 7. a list stays a list: 'seed/ series a' → 'seed / series a'; single spaces
                regexp_replace(
                    regexp_replace(
                        -- 4. to 6. one character for another: case, look-alikes, separators
                        translate(
                            -- 3. what cannot be seen
                            regexp_replace(
                                -- 1. an escape written out is a space; 2. decomposition
                                normalize(
                                    regexp_replace(
                                        observed_values.raw_value, '\\+[nrt]', ' ', 'g'
                                    ),
                                    nfkd
                                ),
                                '['
                                -- combining marks: accents, after decomposition
                                || '\u0300-\u0333\u0339-\u036F\u0483-\u0487\u1AB0-\u1AFF'
                                || '\u1DC0-\u1DFF\uFE20-\uFE2F'
                                -- zero-width and direction characters, soft hyphen, byte order mark
                                || '\u00AD\u061C\u200B-\u200F\u202A-\u202E'
                                || '\u2060-\u206F\uFEFF'
                                -- fillers, inherent vowels, variation selectors, tags
                                || '\u115F\u1160\u17B4\u17B5'
                                || '\u180B-\u180F\u3164\uFE00-\uFE0F\uFFA0'
                                || '\U000E0000-\U000E0FFF'
                                || ']',
                                '',
                                'g'
                            ),
                            'ABCDEFGHIJKLMNOPQRSTUVWXYZ'
                            -- Cyrillic capitals А В С Е Н І Ј К М О Р Ѕ Т У Х Ь
                            || U&'\0410\0412\0421\0415\041D\0406\0408\041A\041C\041E'
                            || U&'\0420\0405\0422\0423\0425\042C'
                            -- Cyrillic small а с е һ і ј о р ѕ у х ь ԁ ԛ ԝ
                            || U&'\0430\0441\0435\04BB\0456\0458\043E\0440\0455\0443'
                            || U&'\0445\044C\0501\051B\051D'
                            -- Greek Α Β Ε Ζ Η Ι Κ Μ Ν Ο Ρ Τ Υ Χ ο ν ϳ
                            || U&'\0391\0392\0395\0396\0397\0399\039A\039C\039D\039F'
                            || U&'\03A1\03A4\03A5\03A7\03BF\03BD\03F3'
                            -- Latin dotless ı and script ɡ
                            || U&'\0131\0261'
                            || ',;&|'
                            -- slashes, commas, semicolons of other scripts, bullets, bars
                            || U&'\2044\2215\29F8\060C\061B\3001\2022\2027\00B7\30FB'
                            || U&'\2219\22C5\25CF\25AA\2502\2016'
                            || '-_.:''"()[]#*`'
                            -- tab, line feed, carriage return and other white space
                            || U&'\0009\000A\000B\000C\000D\001C\001D\001E\001F\0085'
                            || U&'\1680\2028\2029'
                            -- dashes and minus signs
                            || U&'\2010\2011\2012\2013\2014\2015\2212\02D7\2043\2796'
                            || U&'\2E3A\2E3B'
                            -- quotation marks, primes and apostrophes
                            || U&'\2018\2019\201A\201B\201C\201D\201E\201F\2039\203A'
                            || U&'\00AB\00BB\2032\02B9\02BC\301D\301E\301F'
                            -- brackets of other scripts, ideographic full stop, asterisks
                            || U&'\27E8\27E9\3008\3009\300A\300B\300C\300D\300E\300F'
                            || U&'\3010\3011\3014\3015\3016\3017\3018\3019\301A\301B'
                            || U&'\3002\2217\204E',
                            'abcdefghijklmnopqrstuvwxyz'
                            || 'abcehijkmopstyxb'
                            || 'acehijopsyxbdqw'
                            || 'abezhikmnoptyxovj'
                            || 'ig'
                            || repeat('/', 20)
                            || repeat(' ', 79)
                        ),
                        ' *(/ *)+',
                        ' / ',
                        'g'
                    ),
                    ' +',
                    ' ',
                    'g'
                ),
                ' +',
                '+'
            ),
            ' /'
        ) as text_key
    from observed_values
),

bare_values as materialized (
    select
        keyed_values.*,
        case keyed_values.vocabulary
            when 'stage'
                then regexp_replace(
                    keyed_values.text_key,
                    '( ('
                    || 'round|rounds|funding|stage|phase|extension'
                    || '|runde'
                    || '))+$',
                    ''
                )
            when 'tier'
                then keyed_values.text_key
        end as bare_key
    from keyed_values
),

-- The key decides. Only where no alias has it, the key without noise words does, if two characters
-- are left of it.
matched_values as (
    select
        bare_values.*,
        coalesce(whole_key.alias_key, rest_of_key.alias_key) as matched_key
    from bare_values
    left join vocabulary_keys as whole_key
        on
            bare_values.vocabulary = whole_key.vocabulary
            and bare_values.text_key = whole_key.alias_key
    left join vocabulary_keys as rest_of_key
        on
            bare_values.vocabulary = rest_of_key.vocabulary
            and bare_values.bare_key = rest_of_key.alias_key
            and char_length(rest_of_key.alias_key) >= 2
),

resolved_values as (
    select
        matched_values.*,
        case
            when matched_values.raw_value is null then 'null'
            when
                regexp_replace(
                    matched_values.raw_value,
                    '['
                    -- white space
                    || '\u0009-\u000D\u001C-\u0020\u0085\u00A0'
                    || '\u1680\u2000-\u200A\u2028\u2029'
                    || '\u202F\u205F\u3000'
                    -- combining marks: accents, after decomposition
                    || '\u0300-\u0333\u0339-\u036F\u0483-\u0487\u1AB0-\u1AFF'
                    || '\u1DC0-\u1DFF\uFE20-\uFE2F'
                    -- zero-width and direction characters, soft hyphen, byte order mark
                    || '\u00AD\u061C\u200B-\u200F\u202A-\u202E'
                    || '\u2060-\u206F\uFEFF'
                    -- fillers, inherent vowels, variation selectors, tags
                    || '\u115F\u1160\u17B4\u17B5'
                    || '\u180B-\u180F\u3164\uFE00-\uFE0F\uFFA0'
                    || '\U000E0000-\U000E0FFF'
                    || ']',
                    '',
                    'g'
                ) = ''
                then 'blank'
            when vocabulary_keys.alias_key is null then 'unknown'
            when matched_values.raw_value = vocabulary_keys.canonical_value then 'canonical'
            else vocabulary_keys.match_type
        end as resolution,
        vocabulary_keys.accepted_value as canonical_value,
        vocabulary_keys.alias_text as matched_alias
    from matched_values
    left join vocabulary_keys
        on
            matched_values.vocabulary = vocabulary_keys.vocabulary
            and matched_values.matched_key = vocabulary_keys.alias_key
)
