"""The Ray side of a study: the cluster and its nodes, the Tune run and its callback."""
