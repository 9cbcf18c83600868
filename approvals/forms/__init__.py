"""Forms: edits of a state, answers, and the fields they are made of."""
