"""Change the model of a live index: a second field beside the first, compared, switched to, and the first removed."""
