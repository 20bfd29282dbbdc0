"""The guard: triggers that keep a cleaned column clean. Rules, decisions and words are SQL."""
