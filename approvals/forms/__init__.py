"""Forms: answers, edits of a state, and the fields they are made of."""
