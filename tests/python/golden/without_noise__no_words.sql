deals.text_key
