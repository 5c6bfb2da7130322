"""Speed and memory, judged as ratios within one run."""
