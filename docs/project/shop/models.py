from django.db import models


class Order(models.Model):
    """An order of the shop."""

    email = models.EmailField()
    paid = models.BooleanField(default=False)
    invoice = models.TextField(blank=True)  # the text, once a job has written it

    def __str__(self) -> str:
        return f"order {self.pk} of {self.email}"
