"""Mathematical answers: spelling, structure, expressions, equality, and the process that compares them."""
