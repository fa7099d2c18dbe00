"""The pages: each collects plain data in one function, and has a ModelAdmin and a template."""
