levenshtein_less_equal(one.text_key, other.text_key, 2)
