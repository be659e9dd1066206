"""From files or embedded images to the batches of a training and the images of a test."""
