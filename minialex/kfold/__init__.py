"""k-fold cross-validation: folds, their records, and runs loaded to evaluate or predict with."""
