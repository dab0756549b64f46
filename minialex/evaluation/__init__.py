"""How good a network is: loss, accuracy and confusion matrix over a data set. Knows no settings."""
