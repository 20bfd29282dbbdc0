{{ verification_test('per_fund_breakdown') }}
