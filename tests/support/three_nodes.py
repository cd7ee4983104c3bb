"""Starts a Ray cluster on this machine for tests: a head without CPUs, two nodes with one each.

    python three_nodes.py [CACHES]

With CACHES each node has its own FOCUSNET_CACHE in that folder. Prints the cluster's address, kills
a node (as if its machine were preempted) for each line it reads, and ends all at the end of input.
"""

import os
import sys

os.environ["RAY_AUTH_MODE"] = "token"
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"

from ray.cluster_utils import Cluster

if __name__ == "__main__":
    cluster = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False}
    )
    caches = [{"FOCUSNET_CACHE": f"{folder}/node{i}"} for folder in sys.argv[1:] for i in range(2)]
    own = [{"env_vars": cache} for cache in caches] or [{}, {}]
    nodes = [cluster.add_node(num_cpus=1, **options) for options in own]
    print(cluster.address, flush=True)
    for _ in sys.stdin:
        cluster.remove_node(nodes.pop(), allow_graceful=False)
        print("killed", flush=True)
    cluster.shutdown()
