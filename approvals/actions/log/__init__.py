"""What people do with the audit log: copies, signatures, verification."""
