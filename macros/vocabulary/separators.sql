{#-
    The only characters that the text key folds away. Any other character stays in the key and keeps
    a value unknown.
    space: become one space. list: separate the members of a list, so that 'Seed / Series A' never
    folds into one stage. ASCII characters are literal, others are code points (after NFKD, which
    has already unified full-width forms).
-#}
{%- macro separators() -%}
    {{- return({
        'space': {
            'ascii': "-_.:''\"()[]#*`",
            'groups': [
                {'name': 'tab, line feed, carriage return and other white space',
                 'from': ['0009', '000A', '000B', '000C', '000D', '001C', '001D', '001E', '001F',
                          '0085', '1680', '2028', '2029']},
                {'name': 'dashes and minus signs',
                 'from': ['2010', '2011', '2012', '2013', '2014', '2015', '2212', '02D7', '2043',
                          '2796', '2E3A', '2E3B']},
                {'name': 'quotation marks, primes and apostrophes',
                 'from': ['2018', '2019', '201A', '201B', '201C', '201D', '201E', '201F', '2039',
                          '203A', '00AB', '00BB', '2032', '02B9', '02BC', '301D', '301E', '301F']},
                {'name': 'brackets of other scripts, ideographic full stop, asterisks',
                 'from': ['27E8', '27E9', '3008', '3009', '300A', '300B', '300C', '300D', '300E',
                          '300F', '3010', '3011', '3014', '3015', '3016', '3017', '3018', '3019',
                          '301A', '301B', '3002', '2217', '204E']}
            ]
        },
        'list': {
            'ascii': ",;&|",
            'groups': [
                {'name': 'slashes, commas, semicolons of other scripts, bullets, bars',
                 'from': ['2044', '2215', '29F8', '060C', '061B', '3001', '2022', '2027', '00B7',
                          '30FB', '2219', '22C5', '25CF', '25AA', '2502', '2016']}
            ]
        }
    }) -}}
{%- endmacro -%}
