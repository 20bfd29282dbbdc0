{{ verification_test('canonical_values') }}
