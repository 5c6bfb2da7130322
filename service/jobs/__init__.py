"""Jobs: requests for N rows, and the shards that hold them."""
