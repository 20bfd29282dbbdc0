{#-
    What the guard records and reports of one transaction: events (rows of guard_events) and notices
    (warnings that the client gets). The rest is only counted.
    guard_limits() → {'events': 100, 'notices': 10}
-#}
{%- macro guard_limits() -%}
    {{- return({'events': 100, 'notices': 10}) -}}
{%- endmacro -%}
