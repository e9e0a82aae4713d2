"""Data in, model out: datasets, training, measuring. Needs the extra `train`; serving does not import it."""
