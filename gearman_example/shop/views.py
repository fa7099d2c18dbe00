"""
The pages. A POST writes its rows, queues a job, and redirects to a page that shows the job.

ATOMIC_REQUESTS and GEARMAN_SUBMIT_ON_COMMIT are set, so a job is sent when its rows are committed.
"""

from __future__ import annotations

from django.core.files.base import File
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_GET, require_POST, require_safe

from django_gearman.contrib.store.actions import retry

from .forms import ImportForm, PictureForm
from .gearman_jobs import ask_other_site, fail_at_first, import_products, make_thumbnail
from .models import Import, Job, Picture, Product
from .samples import sample_picture, sample_products


def pictures(request: HttpRequest) -> HttpResponse:
    form = PictureForm(files=request.FILES if request.method == "POST" else None)
    if form.is_valid():
        file = form.cleaned_data["file"]
        return add_picture(file.name, file, file.extension)
    latest = Picture.objects.select_related("job")[:12]
    return render(request, "shop/pictures.html", {"form": form, "pictures": latest})


@require_POST
def sample_pictures(request: HttpRequest) -> HttpResponse:
    file = sample_picture()
    return add_picture("A fractal", file, "jpeg")


def add_picture(name: str, file: File[bytes], extension: str) -> HttpResponse:
    picture = Picture(name=name[:100])
    picture.image.save(f"picture.{extension}", file)
    picture.job_id = make_thumbnail.do_background(picture.pk).id
    picture.save(update_fields=["job"])
    return redirect("pictures")


def imports(request: HttpRequest) -> HttpResponse:
    form = ImportForm(files=request.FILES if request.method == "POST" else None)
    if form.is_valid():
        file = form.cleaned_data["file"]
        return add_import(file.name, file)
    latest = Import.objects.select_related("job")[:10]
    return render(request, "shop/imports.html", {"form": form, "imports": latest})


@require_POST
def sample_import(request: HttpRequest) -> HttpResponse:
    file = sample_products()
    return add_import("A sample of 10,000 products", file)


def add_import(name: str, file: File[bytes]) -> HttpResponse:
    uploaded = Import.objects.create(name=name[:100], file=file)
    uploaded.job_id = import_products.do_background(uploaded.pk).id
    uploaded.save(update_fields=["job"])
    return redirect("import", uploaded.pk)


@require_safe
def show_import(request: HttpRequest, pk: int) -> HttpResponse:
    uploaded = get_object_or_404(Import.objects.select_related("job"), pk=pk)
    context = {
        "import": uploaded,
        "count": Product.objects.count(),
        "products": Product.objects.all()[:8],
    }
    return render(request, "shop/import.html", context)


@require_GET
def jobs(request: HttpRequest) -> HttpResponse:
    return render(request, "shop/jobs.html", {"jobs": Job.objects.all()[:20]})


@require_POST
def start_job(request: HttpRequest, name: str) -> HttpResponse:
    job = fail_at_first if name == "fail" else ask_other_site
    job.do_background()
    return redirect("jobs")


@require_POST
def retry_job(request: HttpRequest, pk: str) -> HttpResponse:
    retry(Job.objects.filter(pk=pk))  # jobs that have not failed are left alone
    return redirect("jobs")
