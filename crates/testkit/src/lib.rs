//! SimCluster, fake runtime, scenario runner.
