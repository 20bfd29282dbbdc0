"""Is a finished run true?"""
