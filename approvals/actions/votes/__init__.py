"""Voting on approvals: ballots, previews of edits, claims, drafts, deadlines."""
