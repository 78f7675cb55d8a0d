"""The soak: a real network on this machine, mixed traffic and faults for as long as is wanted, and a judge at the end.

``make soak`` runs it for an hour; docs/howto/soak says what the table means. What decides (``judge``, ``samples``,
``outcomes``, ``truth``, ``dialing``, ``plan``) does no input or output, and has its tests here; the whole has one in
tests/integration/test_soak.py.
"""
