{{ verification_test('audit_consistency') }}
