"""Mathematics in answers: closed forms, algebra, equations, intervals, compared by value."""
