{{ verification_test('models_agree') }}
