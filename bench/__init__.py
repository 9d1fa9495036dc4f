"""What `make bench` measures. No figure without a floor measured in the same run, on the same server."""
