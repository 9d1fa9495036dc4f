"""The way from many callers to few commits: a bounded queue and the lanes that empty it in groups."""
