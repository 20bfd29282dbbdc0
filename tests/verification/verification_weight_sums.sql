{{ verification_test('weight_sums') }}
