"""One file a twistd command: Options and makeService; and what all of them have beside it: status socket and metrics.

The only room that finds the reactor by itself.
"""
