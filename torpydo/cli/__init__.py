"""The ``torpydo`` command: one file a subcommand, ``main`` chooses between them.

The command sits on the public client API and on twistd; it holds no protocol of its own. Nobody imports it.
"""
