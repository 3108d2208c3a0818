"""A new index beside the old one, filled in one resumable job, then switched to atomically."""
