"""Voting on approvals: ballots, claims, drafts, edits, deadlines."""
