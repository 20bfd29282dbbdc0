{{ verification_test('null_integrity') }}
