{{ verification_test('row_counts') }}
