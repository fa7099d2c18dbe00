from django_gearman import JobContext, gearman_job


@gearman_job
def reverse(text: str) -> str:
    """Reverse a text."""
    return text[::-1]


@gearman_job
def resize(path: str, width: int = 100, height: int = 100) -> str:
    """Resize a picture (in truth, only say so)."""
    return f"{path} is now {width} by {height}"


@gearman_job(queue="mail", name="send-mail")
def send(to: str, subject: str = "Hello") -> str:
    """Send a mail (in truth, only return it)."""
    return f"{subject}, {to}!"


@gearman_job(takes_context=True)
def count_to(context: JobContext, number: int) -> int:
    """Count, and report the progress."""
    for n in range(1, number + 1):
        context.set_status(n, number)
    return number
