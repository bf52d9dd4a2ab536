"""Segmentation of lungs and heart: masks in, heads trained, masks scored."""
