regexp_replace(
    deals.stage,
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
