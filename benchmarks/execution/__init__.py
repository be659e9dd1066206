"""The runs of a command: planned, carried out here or on a cluster, shown, and mirrored in MLflow."""
