"""Live updates of open pages: sockets, and messages between processes."""
