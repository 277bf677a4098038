"""The file formats of images: one reader for each."""
