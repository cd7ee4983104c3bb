"""The Ray side of a study: cluster, nodes, the Tune run and its callback."""
