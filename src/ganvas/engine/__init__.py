"""The engine: performs any method's updates, keeps time, saves, resumes."""
