"""A stranger who follows the pages of docs/tutorial word by word."""
