{#-
    Letters of other scripts that look like an ASCII letter, as code points and the ASCII
    letters they become (lower case: the text key is folded). Only letters that people really type
    by mistake or that a key-board layout swaps.
-#}
{%- macro look_alikes() -%}
    {{- return([
        {'name': 'Cyrillic capitals А В С Е Н І Ј К М О Р Ѕ Т У Х Ь',
         'from': ['0410', '0412', '0421', '0415', '041D', '0406', '0408', '041A', '041C', '041E',
                  '0420', '0405', '0422', '0423', '0425', '042C'],
         'to': 'abcehijkmopstyxb'},
        {'name': 'Cyrillic small а с е һ і ј о р ѕ у х ь ԁ ԛ ԝ',
         'from': ['0430', '0441', '0435', '04BB', '0456', '0458', '043E', '0440', '0455', '0443',
                  '0445', '044C', '0501', '051B', '051D'],
         'to': 'acehijopsyxbdqw'},
        {'name': 'Greek Α Β Ε Ζ Η Ι Κ Μ Ν Ο Ρ Τ Υ Χ ο ν ϳ',
         'from': ['0391', '0392', '0395', '0396', '0397', '0399', '039A', '039C', '039D', '039F',
                  '03A1', '03A4', '03A5', '03A7', '03BF', '03BD', '03F3'],
         'to': 'abezhikmnoptyxovj'},
        {'name': 'Latin dotless ı and script ɡ',
         'from': ['0131', '0261'],
         'to': 'ig'}
    ]) -}}
{%- endmacro -%}
