"""The frame of all pages: addresses, permissions, navigation, migrations."""

from __future__ import annotations

import subprocess
import sys

import pytest
from django.contrib import admin
from django.contrib.auth.models import User
from django.core.management import call_command
from django.test import Client
from django.urls import NoReverseMatch, path, reverse

from django_gearman.contrib.dashboard.admin import ADMINS, register
from django_gearman.contrib.dashboard.models import PAGES, Page

PAGE_NAMES = [page.name for page in ADMINS.values()]

other_site = admin.AdminSite(name="operations")
register(other_site)
urlpatterns = [path("operations/", other_site.urls), path("admin/", admin.site.urls)]


def address(name: str) -> str:
    return reverse(f"admin:gearman_{name}")


@pytest.mark.django_db
def test_the_migrations_have_all_models():
    call_command("makemigrations", "gearman_dashboard", check=True, dry_run=True, verbosity=0)


def test_each_page_is_a_model_without_a_table_and_without_permissions_of_its_own():
    assert set(ADMINS) <= set(PAGES)
    for page in PAGES:
        assert issubclass(page, Page)
        assert not page._meta.managed
        assert page._meta.default_permissions == ()


@pytest.mark.parametrize("name", PAGE_NAMES)
def test_a_page_is_in_the_admin_in_its_frame(viewer, name):
    response = viewer.get(address(name))

    page = response.content.decode()
    assert response.status_code == 200
    assert 'id="site-name"' in page, "the page is not in the frame of the admin"
    assert 'aria-current="page"' in page
    assert "no-store" in response["Cache-Control"]


@pytest.mark.parametrize("name", PAGE_NAMES)
def test_a_page_has_no_script_or_style_of_its_own_text(viewer, name):
    page = viewer.get(address(name)).content.decode()

    assert "style=" not in page
    assert "<style" not in page
    assert " on" not in "".join(part.partition(">")[0] for part in page.split("<button")[1:])
    assert page.count("<script") == page.count("<script src=")


@pytest.mark.parametrize("name", PAGE_NAMES)
def test_a_page_needs_its_permission(staff, name):
    nobody, customer = Client(), Client()
    customer.force_login(User.objects.create_user("customer"))

    assert staff().get(address(name)).status_code == 403
    for browser in (nobody, customer):
        assert reverse("admin:login") in browser.get(address(name))["Location"]


@pytest.mark.parametrize("name", PAGE_NAMES)
def test_a_page_is_only_read(viewer, name):
    assert viewer.post(address(name)).status_code == 405


def test_the_index_of_the_admin_links_to_each_page_that_the_user_may_see(viewer, staff):
    index = viewer.get(reverse("admin:index")).content.decode()

    for name in PAGE_NAMES:
        assert f'href="{address(name)}"' in index
    assert "Gearman" not in staff().get(reverse("admin:index")).content.decode()


def test_the_pages_link_to_one_another(viewer):
    for name in PAGE_NAMES:
        page = viewer.get(address(name)).content.decode()
        navigation = page.partition('<nav class="gearman-nav"')[2].partition("</nav>")[0]
        assert [address(other) in navigation for other in PAGE_NAMES] == [True] * len(PAGE_NAMES)


def test_there_is_nothing_to_add_change_or_delete():
    for page in PAGES:
        for action in ("add", "change", "delete", "history"):
            with pytest.raises(NoReverseMatch):
                reverse(f"admin:gearman_dashboard_{page._meta.model_name}_{action}")


@pytest.mark.urls(__name__)
@pytest.mark.parametrize("name", PAGE_NAMES)
def test_another_site_has_the_pages_with_links_within_it(viewer, name):
    there = reverse(f"admin:gearman_{name}", current_app="operations")
    assert there.startswith("/operations/")

    page = viewer.get(there).content.decode()

    assert f'href="{there}"' in page
    assert 'href="/admin/' not in page


@pytest.mark.integration
@pytest.mark.parametrize("missing", ["django.contrib.admin", "django_gearman.contrib.store"])
def test_a_missing_app_is_named_at_the_start(missing):
    apps = [
        "django.contrib.auth",
        "django.contrib.contenttypes",
        "django_gearman",
        *{"django.contrib.admin", "django_gearman.contrib.store"} - {missing},
        "django_gearman.contrib.dashboard",
    ]
    program = (
        f"import django; from django.conf import settings; settings.configure(INSTALLED_APPS={apps}); "
        "django.setup()"
    )

    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)

    assert ended.returncode == 1
    assert f"django_gearman.contrib.dashboard needs '{missing}'" in ended.stderr
