create extension if not exists fuzzystrmatch schema public
