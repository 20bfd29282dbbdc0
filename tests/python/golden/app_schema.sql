'public'
