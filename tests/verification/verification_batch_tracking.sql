{{ verification_test('batch_tracking') }}
