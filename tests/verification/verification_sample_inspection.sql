{{ verification_test('sample_inspection') }}
