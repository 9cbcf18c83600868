"""What people and workers do with the audit log: copy, sign, verify, erase a text."""
