"""Tables of images and rows: file formats, column roles, and rows in one form."""
