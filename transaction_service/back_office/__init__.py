"""The work that no caller waits for: sealing, the integrity check, payouts, webhooks."""
