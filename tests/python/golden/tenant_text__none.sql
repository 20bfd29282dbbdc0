cast(null as text)
