"""Data that outgrows a disk: shards, which training reads while it goes on."""
