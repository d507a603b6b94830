"""Zero-cost proxies: rate a network that nobody has trained."""
