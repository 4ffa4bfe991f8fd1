"""The gallery: synthesised data image by image, as a page to look through (build.py writes it, page.js runs it)."""
