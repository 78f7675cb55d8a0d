"""Leaf packages on the public client API only: the proxies, and what they share."""
