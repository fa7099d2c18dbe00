"""The addresses of the pages, and of the uploaded files."""

from django.conf import settings
from django.conf.urls.static import static
from django.contrib import admin
from django.urls import path, re_path

from . import views

urlpatterns = [
    path("admin/", admin.site.urls),
    path("", views.pictures, name="pictures"),
    path("sample", views.sample_pictures, name="sample-picture"),
    path("imports/", views.imports, name="imports"),
    path("imports/sample", views.sample_import, name="sample-import"),
    path("imports/<int:pk>/", views.show_import, name="import"),
    path("jobs/", views.jobs, name="jobs"),
    re_path("^jobs/(fail|ask)$", views.start_job, name="start-job"),
    path("jobs/<str:pk>/retry", views.retry_job, name="retry-job"),
    *static(settings.MEDIA_URL, document_root=settings.MEDIA_ROOT),
]
