"""The audit chain is made here: what is committed becomes blocks, in the order of the commits."""
