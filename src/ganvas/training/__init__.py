"""The loop around the engine: logs, snapshots, benchmark."""
