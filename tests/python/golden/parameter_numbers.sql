{'batch_id': '$1', 'stripe': '$2'}
