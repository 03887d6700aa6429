"""Programs that measure valetkey against peers, in one run, as ratios."""
