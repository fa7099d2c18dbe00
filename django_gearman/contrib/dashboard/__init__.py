"""
Pages about job servers, workers and jobs inside Django's admin.

Add "django_gearman.contrib.dashboard" to INSTALLED_APPS, beside the admin and the store. There is no URL
configuration: each page is a model without a table, whose ModelAdmin carries the page's views.
`django_gearman.contrib.dashboard.admin.register` adds the pages to another AdminSite than the default.

To add a page:

1. `models.py`: a subclass of `Page`, in the tuple `PAGES`; then `makemigrations gearman_dashboard`.
2. `pages/NAME.py`: a function that collects plain data, without HTML, and a subclass of
   `pages.base.PageAdmin` with the page's name, its permission and `context`.
3. `templates/gearman_dashboard/NAME.html`, which extends `gearman_dashboard/base.html`. Blocks and rows
   have an `id`, so that they stay, with the focus and what is open, when the page renews itself.
4. `admin.py`: the class in `ADMINS`.
"""
