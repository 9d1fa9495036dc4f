"""Webhooks: every event comes to who has asked for it, in the order of the commits."""
