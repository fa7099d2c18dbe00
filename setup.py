"""The package's metadata; tools are configured in pyproject.toml."""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
INIT = (HERE / "django_gearman" / "__init__.py").read_text()
VERSION = re.search(r'^__version__ = "(.+)"$', INIT, re.MULTILINE)[1]
SITE = "https://django-gearman.readthedocs.io/en/latest/"

PYTHON_GEARMAN = ["pygearman==0.2.6"]  # exactly: what it gets wrong is corrected by subclassing
TASKS = ["django-tasks>=0.12"]  # only Django 5.2 needs it
SCHEDULE = ["cronsim>=2.7"]  # parses cron expressions
OTEL = ["opentelemetry-api>=1.30"]  # the project chooses the SDK
SENTRY = ["sentry-sdk>=2.20"]
PROMETHEUS = ["prometheus-client>=0.20"]
EXAMPLE = ["pillow>=11.0"]  # the thumbnails of gearman_example.shop
TEST = [
    *PYTHON_GEARMAN,
    *TASKS,
    *SCHEDULE,
    *OTEL,
    *SENTRY,
    *PROMETHEUS,
    "build>=1.2",
    "dynaconf>=3.2",
    "freezegun>=1.5",
    "gear>=0.16",
    "hypothesis>=6.100",
    *EXAMPLE,
    "opentelemetry-sdk>=1.30",
    "psycopg[binary,pool]>=3.2",
    "pymysql>=1.1",
    "pytest>=9.0",
    "pytest-django>=4.9",
    "pytest-randomly>=3.15",
    "pytest-xdist>=3.6",
    "selenium>=4.30",
    "trustme>=1.1",
]
DOCS = [
    "furo>=2025.12.19",
    "myst-parser>=5.0",
    "sphinx>=9.0",
    "sphinx-copybutton>=0.5.2",
]
DEV = [
    *TEST,
    *DOCS,
    "django-stubs>=5.2",
    "import-linter>=2.11",
    "mypy>=1.15",
    "pre-commit>=4.0",
    "pyright[nodejs]>=1.1.400",
    "ruff>=0.12",
]


def description() -> str:
    """Return the README, with links that also work outside of the repository."""
    text = (HERE / "README.md").read_text()
    text = text.replace("](docs/images/", f"]({SITE}_images/")  # where Sphinx copies them
    text = text.replace("](CHANGELOG.", "](changelog.").replace(
        "](CONTRIBUTING.", "](contributing."
    )
    text = re.sub(r"\]\((?:docs/)?([\w/-]+)\.md(#[\w-]+)?\)", rf"]({SITE}\1.html\2)", text)
    return re.sub(r"\]\(docs/([\w/.-]+)\)", rf"]({SITE}\1)", text)


setup(
    name="django-gearman",
    version=VERSION,
    description="Background jobs for Django on Gearman, which can be tested without a server",
    long_description=description(),
    long_description_content_type="text/markdown",
    author="django-gearman contributors",
    keywords=["Django", "Gearman", "gearmand", "background jobs", "job queue", "worker", "pytest"],
    project_urls={
        "Documentation": SITE,
        "Tutorial": f"{SITE}tutorial/1-first-job.html",
        "Changelog": f"{SITE}changelog.html",
        "Gearman": "https://gearman.org/",
    },
    license_expression="MPL-1.1 OR GPL-2.0-or-later OR LGPL-2.1-or-later",
    license_files=["LICENSE"],
    packages=find_packages(include=["django_gearman", "django_gearman.*"]),
    include_package_data=True,  # MANIFEST.in says which files
    python_requires=">=3.11",
    install_requires=["Django>=5.2"],
    entry_points={"pytest11": ["django_gearman = django_gearman.testing.plugin"]},
    extras_require={
        "python-gearman": PYTHON_GEARMAN,
        "prometheus": PROMETHEUS,
        "schedule": SCHEDULE,
        "tasks": TASKS,
        "otel": OTEL,
        "sentry": SENTRY,
        "example": EXAMPLE,
        "test": TEST,
        "docs": DOCS,
        "dev": DEV,
    },
    classifiers=[
        "Development Status :: 5 - Production/Stable",
        "Environment :: Web Environment",
        "Framework :: Django",
        "Framework :: Django :: 5.2",
        "Framework :: Django :: 6.0",
        "Framework :: Django :: 6.1",
        "Framework :: Pytest",
        "Intended Audience :: Developers",
        "Operating System :: POSIX",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3 :: Only",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Programming Language :: Python :: Implementation :: CPython",
        "Topic :: Internet :: WWW/HTTP",
        "Topic :: Software Development :: Testing",
        "Topic :: System :: Distributed Computing",
        "Typing :: Typed",
    ],
)
