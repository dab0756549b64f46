"""k-fold cross-validation, and trained networks loaded to evaluate or predict with."""
