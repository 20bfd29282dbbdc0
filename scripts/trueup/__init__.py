"""trueup: bring categorical columns of live PostgreSQL tables up to a canonical vocabulary."""

__version__ = "0.1.0"
