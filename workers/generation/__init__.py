"""How rows are made. Read pipeline.py first: noise, latents, rows, bytes. encoding.py runs it backwards."""

from workers.generation.encoding import EncodingSummary, copy_latents, encode_dataset
from workers.generation.pipeline import ShardPlan, generate_shard
from workers.shards import WrittenShard

__all__ = ["EncodingSummary", "ShardPlan", "WrittenShard", "copy_latents", "encode_dataset", "generate_shard"]
