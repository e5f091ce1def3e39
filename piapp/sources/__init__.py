"""The kinds of camera, one a file. Optional packages are imported when a camera of their kind is opened."""
