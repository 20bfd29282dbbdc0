cast(null as text) collate "C"
