"""The record of the site's jobs, and the page that shows it."""

from __future__ import annotations

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import transaction

from django_gearman import JobContext
from gearman_example.shop.models import Job, Picture


def page_of(client, path: str = "/jobs/") -> str:
    return client.get(path).content.decode()


def test_a_job_that_fails_is_shown_with_its_error_and_can_be_retried(client, gearman_worker):
    client.post("/jobs/fail")

    job = Job.objects.get()
    assert (job.state, job.attempts, str(job)) == ("failed", 1, "fail_at_first")
    assert "RuntimeError in attempt 1: This job fails on purpose." in page_of(client)
    assert f'formaction="/jobs/{job.pk}/retry"' in page_of(client)

    client.post(f"/jobs/{job.pk}/retry")

    job.refresh_from_db()
    assert (job.state, job.attempts, job.text) == ("done", 2, "Now it has worked.")
    assert "formaction" not in page_of(client)


def test_only_a_failed_job_is_retried(client):
    client.post("/sample")
    job = Job.objects.get()

    assert client.post(f"/jobs/{job.pk}/retry", follow=True).status_code == 200
    assert client.post("/jobs/unknown/retry", follow=True).status_code == 200

    assert Job.objects.get().attempts == 1


def test_a_job_that_is_retried_is_one_row(client, gearman_worker):
    client.post("/jobs/ask")
    assert "ConnectionError in attempt 1: The other site does not answer." in page_of(client)
    assert "data-active" in page_of(client)

    gearman_worker.advance(seconds=10)

    job = Job.objects.get()
    assert (job.state, job.attempts) == ("done", 3)
    assert "The other site has answered." in page_of(client)
    assert "data-active" not in page_of(client)


@pytest.mark.gearman("memory")
def test_a_queued_job_is_shown_until_it_has_run(client, gearman_worker):
    client.post("/sample")
    assert '<span class="state queued">Queued</span>' in page_of(client, "/")

    gearman_worker.run()

    assert "Thumbnail of A fractal" in page_of(client, "/")


def test_a_running_job_shows_its_progress(client, monkeypatch):
    shown: list[str] = []
    set_status = JobContext.set_status

    def report(context: JobContext, numerator: int, denominator: int) -> None:
        set_status(context, numerator, denominator)
        shown.append(page_of(client))

    monkeypatch.setattr(JobContext, "set_status", report)
    lines = "".join(f"A-{number},Lamp,1\n" for number in range(2500))
    file = SimpleUploadedFile("products.csv", f"number,name,price\n{lines}".encode())
    monkeypatch.setattr("gearman_example.shop.gearman_jobs.BATCH", 1250)
    client.post("/imports/", {"file": file})

    assert '<progress max="2500" value="0"' in shown[0]
    assert '<progress max="2500" value="1250"' in shown[1]
    assert "1,250 of 2,500" in shown[1]
    assert "<progress" not in page_of(client)


@pytest.mark.django_db(transaction=True)
def test_a_job_that_no_server_took_has_failed(client, gearman_client):
    with gearman_client.server_down():
        with transaction.atomic():
            client.post("/sample")
        page = page_of(client, "/")

    assert Picture.objects.count() == 1
    assert Job.objects.get().state == "failed"
    assert "Failed" in page


def test_pages_are_safe(client):
    response = client.get("/")

    assert response["Content-Security-Policy"] == "default-src 'self'; frame-ancestors 'none'"
    assert response["X-Content-Type-Options"] == "nosniff"
    page = response.content.decode()
    assert "style=" not in page
    assert "onclick" not in page
    assert 'src="http' not in page


@pytest.mark.parametrize(
    "path", ["/sample", "/imports/sample", "/jobs/fail", "/jobs/ask", "/jobs/x/retry"]
)
def test_only_a_post_does_something(client, path):
    assert client.get(path).status_code == 405
    assert not Job.objects.exists()


def test_a_missing_page_is_not_found(client):
    for path in ("/imports/99/", "/jobs/other"):
        assert client.get(path).status_code == 404
