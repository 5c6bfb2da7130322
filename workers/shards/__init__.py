"""One output file: written once, in order, hashed on the way; equal rows give equal bytes."""

from workers.shards.schema import ShardBatch, ShardSchema
from workers.shards.writing import WrittenShard, write_shard

__all__ = ["ShardBatch", "ShardSchema", "WrittenShard", "write_shard"]
