"""From a network and test images to scores: protocols, metrics, tiling, and loading a network's weights."""
