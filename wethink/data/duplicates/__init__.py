"""Near-duplicate pictures: descriptors, nearest neighbours, alignment, comparison of pixels, clusters."""
