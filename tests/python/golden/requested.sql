(select request.most from request)
