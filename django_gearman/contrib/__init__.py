"""Optional parts of django-gearman. The core imports none of them."""
