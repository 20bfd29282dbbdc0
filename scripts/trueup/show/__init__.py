"""Output for people: tables, progress, pages."""
