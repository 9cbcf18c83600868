"""People, policies, and changes of them."""
