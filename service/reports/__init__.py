"""Reports: which strategy to use for a model and a dataset, with the measurements that say so."""
