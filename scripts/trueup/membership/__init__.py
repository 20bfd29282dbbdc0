"""A migration of members, events and registrations: its import, and the proof of its bundle."""
