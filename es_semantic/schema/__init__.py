"""The semantic field in the cluster: mapping, pipeline and the binding that ties them to a model."""
