"""Several processes for one node (``--workers``): a supervisor, and the workers that carry the circuits.

The supervisor is the process that the operator started. It has the state directory, the port, the listings, the
onion keys and the heartbeats; it accepts connections and hands each to one of the workers. A worker has links,
circuits and exits and nothing else: it opens no file, and all that it knows came over the channel to its supervisor.
::

    balancer, restarts, messages    decide and encode; no input, no output
    channel, handover, processes    sockets between processes, accepted connections, processes
    supervisor                      what is above all of them, in the process of the node
    worker, __main__                the other end, in a process of its own

Called by the parts of a node.
"""

from torpydo.node.workers.processes import Launch, launch_worker
from torpydo.node.workers.supervisor import Supervisor

__all__ = ["Launch", "Supervisor", "launch_worker"]
