stage
"Stage"
"order"
"My ""x"""
"2nd"
"a$1"
