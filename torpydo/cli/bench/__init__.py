"""``torpydo bench``: measures the lines of the performance table, each beside what it is compared with.

Nothing else of torpydo imports this room.
"""
