{{ verification_test('other_columns_untouched') }}
