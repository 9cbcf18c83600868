"""Live updates of open pages: sockets, messages, and the Redis behind them."""
