"""Rule-based verification of answers: numbers, units, dates, options, expressions."""
