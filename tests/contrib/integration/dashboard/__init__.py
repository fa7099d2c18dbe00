"""A small project whose admin is looked at in a browser."""
