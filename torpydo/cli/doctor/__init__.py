"""``torpydo doctor``: looks at a machine, its state directory, its pools and its network, and says what helps."""
