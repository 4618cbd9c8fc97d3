"""Building, training and evaluating the model."""
