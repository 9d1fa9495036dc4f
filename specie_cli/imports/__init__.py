"""Files of transfers: read, checked, sent in batches, each line once."""
