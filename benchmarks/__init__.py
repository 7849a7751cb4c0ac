"""Speed and memory beside peers, as ratios of things run in turn in one process."""
