public."My Deals"
